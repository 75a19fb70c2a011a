"""What runs where; attempts of lost workers; deadlines."""

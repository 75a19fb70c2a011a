"""What this worker tells the others: that it lives, what it has room for, and what operators want to see of it."""

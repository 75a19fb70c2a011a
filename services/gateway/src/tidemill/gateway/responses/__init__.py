"""What is answered: rows as the asking client may see and can read them."""

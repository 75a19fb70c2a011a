"""What model code prints: whose it is, in threads and processes too, and how it comes to the worker with that said."""

"""What a child locks itself into before the model's first line. Imports no other folder."""

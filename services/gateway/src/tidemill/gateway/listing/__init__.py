"""What lists are filtered by, and the cursors between their pages. Pure."""

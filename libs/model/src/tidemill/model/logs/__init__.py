"""What model code prints, and to which prediction it belongs. Runs in the child only."""

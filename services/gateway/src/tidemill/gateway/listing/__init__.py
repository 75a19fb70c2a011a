"""Lists: what they are narrowed by, their pages, and the cursors between these."""

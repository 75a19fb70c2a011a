"""Models of directories, run on their author's machine with no services."""

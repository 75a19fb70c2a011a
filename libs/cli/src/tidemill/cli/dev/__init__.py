"""`tidemill dev`: serves the model of a directory over HTTP and reloads it when a file changes."""

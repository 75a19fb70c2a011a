"""Turns a directory with a cog.yaml into a child process that has the model loaded; for workers and authors' tools."""

"""Directories of Python packages for models: built by uv, shared between versions, evicted when unused."""

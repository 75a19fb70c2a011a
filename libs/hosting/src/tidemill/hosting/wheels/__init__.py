"""Limits what wheels unpack to: their declared sizes are checked first, and what is written is counted meanwhile."""

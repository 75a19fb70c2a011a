"""Converts inputs to Python arguments, and outputs to JSON with files. Never talks to the worker."""

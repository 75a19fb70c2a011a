"""Validation errors of inputs and bodies, by JSON Schema, in the words of Replicate's API."""

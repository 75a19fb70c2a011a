"""Handlers: one file per group of verbs."""

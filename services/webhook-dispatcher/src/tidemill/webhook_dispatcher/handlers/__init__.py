"""Handlers: terminal deliveries from rows, progress from hints."""

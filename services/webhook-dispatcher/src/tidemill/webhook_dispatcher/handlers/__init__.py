"""Handlers of terminal deliveries (from rows) and of progress events (from hints)."""

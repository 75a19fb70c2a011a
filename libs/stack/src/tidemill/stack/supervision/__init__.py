"""The supervisor: starts everything in order, restarts what dies, replaces what changed, stops in reverse order."""

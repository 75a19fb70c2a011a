"""The gateway's part of a prediction's life: create, wait, cancel, delete."""

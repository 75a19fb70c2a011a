"""Releases of deployments: the settings after a change, and which release takes a new prediction."""

"""Releases of deployments: what a change makes of them, and which one a new prediction goes to."""

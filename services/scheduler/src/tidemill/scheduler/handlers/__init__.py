"""Handlers of heartbeats and demand, the sweep over open predictions, and the effects of their decisions."""

"""Runs: predictions in this worker, from the pulled job to the recorded end.

The run table holds the state. The engine connects what works on it, and calls the rest of the worker through its ports.
Nothing here boots or stops instances.
"""

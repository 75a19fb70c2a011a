"""Predictions in this worker: from the hint that a job is, over its run on an instance, to its recorded end.

The engine holds the state; what it calls on comes in through its ports. Knows nothing of how instances come and go.
"""

"""Runs predictions in the child: one at a time, in batches or concurrently, with cancelation, metrics and results."""

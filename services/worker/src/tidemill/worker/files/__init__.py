"""Files of predictions: inputs fetched for a child, and outputs uploaded from it to the object store.

Paths and descriptors from a child are never trusted.
"""

"""Files of predictions: inputs on their way to a child, and outputs on their way from it to the object store.

Paths and descriptors of a child's are never trusted.
"""

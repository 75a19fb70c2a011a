"""Model files on this machine: fetched once, verified, shared by all versions, and evicted least recently used first.

New versions are fetched ahead if there is room. The cache must never remove what is in use.
"""

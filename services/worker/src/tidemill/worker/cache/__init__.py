"""Model files on this machine: fetched once, checked, shared by all versions that have them, ahead of time if there is
room, and removed when they have been unused longest. Must never remove what is in use.
"""

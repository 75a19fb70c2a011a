"""The storage janitor: removes data when its retention is over, and files that nothing refers to."""

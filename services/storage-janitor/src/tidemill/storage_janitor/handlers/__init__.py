"""The steps that the storage janitor repeats."""

"""Confines a child before the model's first line. Imports no other folder."""

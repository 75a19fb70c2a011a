"""Versions of models that are made here: of what was pushed, and of the weights that trainings write."""

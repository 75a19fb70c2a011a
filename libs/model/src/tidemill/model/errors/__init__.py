"""The errors that a model can cause, and texts for exceptions of model code. Imports no other folder."""

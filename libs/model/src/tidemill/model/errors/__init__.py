"""The errors that a model can cause, and what is said about exceptions of model code. Imports no other folder."""

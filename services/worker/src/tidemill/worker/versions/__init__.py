"""Makes versions of models: of pushed files, and of the weights that trainings write."""

"""Claims predictions, runs models in child processes, records outcomes."""

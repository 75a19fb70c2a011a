"""The machine's GPUs: which there are, which an instance gets, and who holds them until its process has gone."""

"""The machine's GPUs: which there are, which an instance gets, and which it holds until its process has gone."""

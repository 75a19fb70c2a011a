"""What a model prints and records: secrets removed, metrics nested, progress read, log lines limited. Pure."""

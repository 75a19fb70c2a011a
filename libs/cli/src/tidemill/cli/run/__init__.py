"""Commands that run a model over the HTTP API, and print its output and logs: run, train, logs."""

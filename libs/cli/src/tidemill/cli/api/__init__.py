"""The client of the HTTP API: requests and errors, models by name, files. It prints nothing."""

"""Commands that list, show and change the resources of the HTTP API: one module for each kind."""

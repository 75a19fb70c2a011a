"""Commands that list, show and change what the HTTP API has: a module for each kind of thing."""

"""Who sends a request: authentication, client addresses, and the throttling of connections."""

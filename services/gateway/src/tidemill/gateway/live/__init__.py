"""Live data for connected clients: output as server-sent events, and webhooks mirrored to developers."""

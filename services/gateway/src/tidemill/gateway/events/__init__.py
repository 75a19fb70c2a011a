"""Outside subscribers on NATS: who they are, what they may hear, and their durable consumers."""

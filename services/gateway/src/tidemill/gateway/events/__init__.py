"""External subscribers on NATS: authentication, permissions, and durable consumers."""

"""The embedded stack: NATS, PostgreSQL, an S3 store and the services as supervised processes."""

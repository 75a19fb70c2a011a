"""Fixtures that start the real NATS, PostgreSQL and S3 store; fakes with a seed."""

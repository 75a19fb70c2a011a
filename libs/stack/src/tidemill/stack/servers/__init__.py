"""The embedded servers (NATS, PostgreSQL, the S3 store): their programs, configuration, data and readiness."""

"""What all services share: their shape, the database, the bus, the object store, telemetry and configuration."""

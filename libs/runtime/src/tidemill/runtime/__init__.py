"""Service shape, bus, database, object store, telemetry, configuration."""

"""The Tidemill services as processes: their environment, their readiness, and what code they were started from."""

"""Operators' commands that work directly on the database, by TIDEMILL_DATABASE_URL. They never call the HTTP API."""

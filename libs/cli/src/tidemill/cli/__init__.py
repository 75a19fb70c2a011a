"""The tidemill command."""

"""Responses: serializers that turn rows into what the requesting client may see and can read."""

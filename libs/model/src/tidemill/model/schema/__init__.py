"""The OpenAPI schema of a model, from its signature. Never runs a prediction."""

"""The OpenAPI document and the documentation, made of the route table."""

"""The OpenAPI document and the documentation, generated from the route table."""

"""The only HTTP client for URLs that users give us, its policy, and the proxy for traffic of model code."""

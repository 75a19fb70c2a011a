"""Signed webhook deliveries with retries."""

"""The webhook dispatcher: signed deliveries with retries and a circuit breaker per endpoint."""

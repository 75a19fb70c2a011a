"""Limits of accounts: rates over all gateways, and the number of open predictions."""

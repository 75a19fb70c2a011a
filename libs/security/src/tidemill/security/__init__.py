"""Tokens, signatures, capability URLs, path rules of bundles and the egress client.

Everything but the egress client is pure. This package must never log, keep a secret longer than a call, or reach
a service of ours.
"""

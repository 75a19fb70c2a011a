"""Tokens, signatures, capability URLs, path rules of bundles, encryption of secrets, and the egress client.

Everything except the egress client and proxy is pure. This package must never log, keep a secret longer than a call, or
connect to one of our services.
"""

"""Tokens, signatures, capability URLs and the egress client."""

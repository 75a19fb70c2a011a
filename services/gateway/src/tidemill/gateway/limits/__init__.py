"""How much an account may ask for: rates over all gateways, and predictions that are open at a time."""

"""Every statement that writes `account` or `token`: the gateway's for users, and the CLI's for operators.

Who may do what is decided by the callers.
"""

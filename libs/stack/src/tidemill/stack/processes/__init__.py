"""One operating-system process: how it is started, stopped and killed, its account, and the ports it is given."""

"""Handlers of messages from the bus, one file per group: they pass what a message asks for to the parts that do it."""

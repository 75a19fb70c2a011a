"""`tidemill predict`, and what all commands share that run a model on this machine, without services."""

"""From a directory with a cog.yaml to a child that has it loaded: what workers and authors' tools share."""

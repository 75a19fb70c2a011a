"""The child process of a model, seen from its parent: zygotes, frames, exits, the schema, its egress proxy."""

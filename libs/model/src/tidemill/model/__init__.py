"""The model runtime: introspection, child, zygote and sandbox; standard library only."""

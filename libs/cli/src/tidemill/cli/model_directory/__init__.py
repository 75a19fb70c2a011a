"""A model's directory on its author's machine: made, listed, hashed and checked. Nothing here runs it or sends it."""

"""What is wrong with an input or a body, by JSON Schema, in the words that Replicate's clients know."""

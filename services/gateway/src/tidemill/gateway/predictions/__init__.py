"""The life of a prediction as far as the gateway takes part in it: from a body to its row, its wait, its early end."""

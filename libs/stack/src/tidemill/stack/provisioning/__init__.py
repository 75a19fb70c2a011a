"""What makes a running stack useful: the local account with its token, and the catalogue of models."""

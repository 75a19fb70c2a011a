"""The worker: claims predictions, runs models in child processes, records how predictions end."""

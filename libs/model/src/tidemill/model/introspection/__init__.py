"""The author's contract: loads a model's code and reads its signature. Never handles values of a prediction."""

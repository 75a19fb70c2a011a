"""A model that can be fine-tuned: its weights come to setup."""

from cog import BasePredictor, Path


class Predictor(BasePredictor):
    def setup(self, weights: Path = None) -> None:
        self.greeting = weights.read_text() if weights else "hello"

    def predict(self, name: str) -> str:
        return f"{self.greeting} {name}"

"""A model that does not come up."""

from cog import BasePredictor


class Predictor(BasePredictor):
    def setup(self) -> None:
        print("looking for weights")
        raise FileNotFoundError("there are no weights")

    def predict(self, text: str = "") -> str:
        return text

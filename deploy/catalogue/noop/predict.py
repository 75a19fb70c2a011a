"""Answers with the text it was given: what is left of a prediction's cost when the model costs nothing."""

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(self, text: str = Input(description="Text to send back")) -> str:
        return text

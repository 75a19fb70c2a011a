"""Answers with the text it was given, up to 32 predictions at a time on one event loop."""

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    async def predict(self, text: str = Input(description="Text to send back")) -> str:
        return text

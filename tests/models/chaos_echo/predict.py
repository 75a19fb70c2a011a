import time

from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, text: str, seconds: float = 0.0) -> str:
        time.sleep(seconds)
        return text

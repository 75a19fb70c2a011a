"""Sleeps, to be canceled."""

import time

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(self, seconds: float = Input(ge=0.0, description="How long")) -> str:
        time.sleep(seconds)
        return f"slept {seconds:g} s"

"""Answers with a word of the text it was trained on."""

import os
from typing import Optional

from cog import BasePredictor, Path


class Predictor(BasePredictor):
    def setup(self, weights: Optional[Path] = None) -> None:
        self.words = weights.read_text().split() if weights else ["untrained"]
        self.same = os.environ.get("COG_WEIGHTS") == (str(weights) if weights else None)

    def predict(self, number: int) -> str:
        assert self.same
        return self.words[number % len(self.words)]

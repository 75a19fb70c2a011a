"""Yields a text word by word, white space included."""

import re
import time

from cog import BasePredictor, ConcatenateIterator, Input


class Predictor(BasePredictor):
    def predict(
        self,
        text: str = Input(description="What to yield"),
        delay_s: float = Input(default=0.0, ge=0.0, description="Time between words"),
    ) -> ConcatenateIterator[str]:
        for word in re.findall(r"\S+\s*", text):
            yield word
            time.sleep(delay_s)

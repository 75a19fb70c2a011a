"""A generator that yields a word and then waits for long."""

import time

from cog import BasePredictor, ConcatenateIterator


class Predictor(BasePredictor):
    def predict(self, wait_s: float = 100) -> ConcatenateIterator[str]:
        yield "first "
        time.sleep(wait_s)
        yield "last"

"""A language model that streams one text."""

from __future__ import annotations

import cog
from cog import BasePredictor, ConcatenateIterator, Input


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.suffix = "!"

    def predict(
        self,
        prompt: str,
        max_tokens: int = Input(default=8, ge=1),
        stop_sequences: str = Input(default=None),
    ) -> ConcatenateIterator[str]:
        for number, word in enumerate(prompt.split()):
            if number == max_tokens:
                break
            self.record_metric("tokens.output", 1, mode="incr")
            yield word + self.suffix
        cog.current_scope().record_metric("input_token_count", len(prompt))

"""Yields a file for each word."""

import tempfile
from collections.abc import Iterator

from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def predict(self, text: str = Input(description="Words")) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp())
        for number, word in enumerate(text.split()):
            file = folder / f"{number}.txt"
            file.write_text(word)
            yield file

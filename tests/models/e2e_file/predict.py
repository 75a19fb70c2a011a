"""Turns the bytes of a file around."""

import tempfile

from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def predict(self, image: Path = Input(description="Any file")) -> Path:
        reversed_file = Path(tempfile.mkdtemp()) / "reversed.bin"
        reversed_file.write_bytes(image.read_bytes()[::-1])
        return reversed_file

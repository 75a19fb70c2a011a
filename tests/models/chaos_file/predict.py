"""Hands the bytes of a file back as another file."""

import tempfile

from cog import BasePredictor, Path


class Predictor(BasePredictor):
    def predict(self, given: Path) -> Path:
        made = Path(tempfile.mkdtemp()) / "made.bin"
        made.write_bytes(given.read_bytes())
        return made

"""File inputs: what they are called, what is in them, and that those of the prediction before are gone."""

import io
import os
from typing import Any, List, Optional

from cog import BasePredictor, File, Input, Path


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.before: List[str] = []

    def predict(
        self,
        one: Path = Input(default=None, accept=["image/*", ".txt"]),
        many: List[Path] = Input(default=[]),
        maybe: Optional[Path] = None,
        opened: File = Input(default=None),
        text: str = "",
    ) -> Any:
        left = [path for path in self.before if os.path.exists(path)]
        paths = [path for path in [one, *many, maybe] if path]
        assert all(isinstance(path, Path) for path in paths)
        self.before = [str(path) for path in paths]
        read = {"opened": opened.read().decode()} if opened else {}
        return {"files": [[path.name, path.read_text()] for path in paths], "left": left, "text": text, **read}

"""Files of the model's own directory as the defaults of its inputs, as many models ship an example."""

from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def predict(
        self,
        text: Path = Input(default=Path("example.txt")),
        more: list[Path] = Input(default=["own/a.txt", "own/b.txt"]),
    ) -> list[str]:
        return [each.read_text() for each in [text, *more]]

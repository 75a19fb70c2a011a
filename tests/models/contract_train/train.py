"""The training entry: a function."""

import tempfile

from cog import BaseModel, Input, Path


class TrainingOutput(BaseModel):
    weights: Path


def train(greeting: str = Input(description="What to say"), steps: int = Input(default=10, ge=1)) -> TrainingOutput:
    path = Path(tempfile.mkdtemp()) / "weights.txt"
    path.write_text(greeting)
    return TrainingOutput(weights=path)

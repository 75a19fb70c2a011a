"""Takes a file, says how far it is, and refuses an empty text."""

import sys
import tempfile

from cog import BaseModel, Input, Path


class TrainingOutput(BaseModel):
    weights: Path


def train(text: Path, steps: int = Input(default=2, ge=1, le=4)) -> TrainingOutput:
    words = text.read_text().split()
    if not words:
        raise ValueError(f"{text.name} has no words")
    for step in range(steps):
        sys.stderr.write(f"\rlearning: {100 * (step + 1) // steps}%|##| {step + 1}/{steps}")
    print(f"\nread {text.name}")
    path = Path(tempfile.mkdtemp()) / "words.txt"
    path.write_text(" ".join(word.upper() for word in words))
    return TrainingOutput(weights=path)

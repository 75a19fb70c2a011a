"""Scores texts with one call of a small network for many of them; an empty text has no score, and one ends the process."""

import os
import signal
import tempfile

import cog
import torch
from cog import BasePredictor, Batch, Input, Path


class Predictor(BasePredictor):
    def setup(self) -> None:
        torch.manual_seed(0)
        self.network = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))

    @cog.batch(max_size=16, max_wait_ms=250)
    @torch.inference_mode()
    def predict(
        self,
        text: Batch[str] = Input(description="What is scored"),
        as_file: Batch[bool] = Input(default=False, description="Whether the score comes as a file"),
        scale: float = Input(default=1.0, description="One call is for one scale"),
    ) -> Batch[dict]:
        print(f"scoring {len(text)} texts")
        if "crash" in text:
            os.kill(os.getpid(), signal.SIGSEGV)
        rows = torch.tensor([self.features(each) for each in text])
        scores = (self.network(rows).squeeze(1) * scale).tolist()
        return Batch(self.answer(*each) for each in zip(text, as_file, scores))

    def features(self, text: str) -> list[float]:
        return [float(ord(letter)) for letter in text[:8].ljust(8)]

    def answer(self, text: str, as_file: bool, score: float):
        if not text:
            return ValueError("an empty text has no score")
        if as_file:
            path = Path(tempfile.mkdtemp()) / f"{text}.txt"
            path.write_text(text)
            return {"text": text, "file": path}
        return {"text": text, "score": score}

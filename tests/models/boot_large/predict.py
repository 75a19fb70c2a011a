"""Sixteen layers of 64 MiB; `how.txt` says how they are loaded. A prediction reads every weight once."""

from pathlib import Path

import torch
from cog import BasePredictor


def mapped_safetensors() -> dict:
    from safetensors.torch import load_file

    return load_file("weights.safetensors")


LOADERS = {
    "safetensors": mapped_safetensors,
    "torch.load(mmap=True)": lambda: torch.load("weights.pt", mmap=True, weights_only=True),
    "torch.load": lambda: torch.load("weights.pt", weights_only=True),
}


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.layers = LOADERS[Path("how.txt").read_text().strip()]()

    def predict(self, value: float = 1.0) -> float:
        with torch.inference_mode():
            x = torch.full((1, 4096), value)
            for weight in self.layers.values():
                x = torch.tanh(torch.nn.functional.linear(x, weight))
            return float(x.sum())

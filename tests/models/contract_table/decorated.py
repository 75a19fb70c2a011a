"""A decorator of torch's on predict; what it switches off stays off in every call, and setup's switch too."""

import torch

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def setup(self) -> None:
        torch.set_grad_enabled(False)

    @torch.inference_mode()
    def predict(self, value: float = Input(default=2.0, ge=0), power: int = Input(default=3)) -> list[float]:
        assert torch.is_inference_mode_enabled()
        return (torch.tensor([value]) ** power).tolist()

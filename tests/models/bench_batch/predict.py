"""A network of many layers, one prediction at a time and many at a time: the same weights, the same answers."""

import cog
import torch
from cog import BasePredictor, Batch

WIDTH = 128
LAYERS = 800  # of one row, each is over sooner than it is begun: that is what many rows at once save


class Network(BasePredictor):
    def setup(self) -> None:
        torch.manual_seed(0)
        torch.set_num_threads(1)  # the machine's other cores are the platform's, so that two runs compare
        layers = []
        for _ in range(LAYERS):
            layers += [torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU()]
        self.network = torch.nn.Sequential(*layers, torch.nn.Linear(WIDTH, 1)).eval()

    @torch.inference_mode()
    def compute(self, values: list[float]) -> list[float]:
        rows = torch.tensor(values).unsqueeze(1).expand(-1, WIDTH)
        return self.network(rows).squeeze(1).tolist()


class Single(Network):
    def predict(self, value: float) -> float:
        return self.compute([value])[0]


class Batched(Network):
    @cog.batch(max_size=32, max_wait_ms=5)
    def predict(self, value: Batch[float]) -> Batch[float]:
        return Batch(self.compute(value))

import os

import torch
from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, what: str) -> dict:
        return getattr(self, what)()

    def devices(self) -> dict:
        """The devices that CUDA shows, and the device files that open."""
        opened = []
        for number in range(16):
            try:
                os.close(os.open(f"/dev/nvidia{number}", os.O_RDWR))
                opened.append(number)
            except OSError:
                pass
        count = torch.cuda.device_count()
        return {"uuids": [str(torch.cuda.get_device_properties(i).uuid) for i in range(count)], "opened": opened}

    def compute(self) -> dict:
        square = torch.ones(1024, 1024, device="cuda")
        return {"sum": float((square @ square).sum())}

    def hold(self) -> dict:
        self.held = torch.empty(2 * 1024**3, dtype=torch.uint8, device="cuda")
        return {"bytes": torch.cuda.memory_allocated()}

    def too_much(self) -> dict:
        free, _ = torch.cuda.mem_get_info()
        hoard = [torch.empty(free * 3 // 4, dtype=torch.uint8, device="cuda") for _ in range(2)]
        return {"unreachable": len(hoard)}

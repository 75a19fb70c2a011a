"""The shape of an image model of 2023: computed choices, a decorator on predict, optional files."""

import contextlib
import functools
import os
import tempfile
from typing import List, Optional

from cog import BasePredictor, Input, Path


class inference_mode(contextlib.ContextDecorator):
    """Wraps as torch.inference_mode does: the wrapper itself has no defaults."""

    def __call__(self, func):
        @functools.wraps(func)
        def wrapper(*args, **kwargs):
            return func(*args, **kwargs)

        return wrapper


SCHEDULERS = {"DDIM": object, "K_EULER": object, "PNDM": object}


class Predictor(BasePredictor):
    def setup(self, weights: Optional[Path] = None):
        self.weights = weights

    @inference_mode()
    def predict(
        self,
        prompt: str = Input(description="Input prompt", default="An astronaut riding a rainbow unicorn"),
        image: Path = Input(description="Input image for img2img or inpaint mode", default=None),
        mask: Optional[Path] = Input(description="Input mask for inpaint mode", default=None),
        width: int = Input(description="Width of output image", default=1024),
        num_outputs: int = Input(description="Number of images to output", ge=1, le=4, default=1),
        scheduler: str = Input(description="scheduler", choices=SCHEDULERS.keys(), default="K_EULER"),
        guidance_scale: float = Input(description="Scale", ge=1, le=50, default=7.5),
        seed: int = Input(description="Random seed. Leave blank to randomize the seed", default=None),
        refine: str = Input(choices=["no_refiner", "expert_ensemble_refiner"], default="no_refiner"),
        disable_safety_checker: bool = Input(description="Disable safety checker", default=False),
    ) -> List[Path]:
        assert seed is None or isinstance(seed, int)
        directory = tempfile.mkdtemp()
        paths = []
        for number in range(num_outputs):
            path = os.path.join(directory, f"out-{number}.png")
            with open(path, "wb") as file:
                file.write(f"{prompt} {width} {scheduler} {guidance_scale}".encode())
            paths.append(Path(path))
        return paths

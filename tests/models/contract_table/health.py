"""Says of itself that it is ill; another instance takes its place."""

import os

from cog import BasePredictor


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.well = True

    def predict(self, sicken: bool = False) -> str:
        self.well = not sicken
        return os.environ["TMPDIR"]  # each instance has its own

    def healthcheck(self) -> bool:
        return self.well

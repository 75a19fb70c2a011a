"""Models of pydantic as input and output; which pydantic, its requirements say."""

from typing import List

import pydantic

from cog import BasePredictor


class Settings(pydantic.BaseModel):
    steps: int
    names: List[str] = []


class Report(pydantic.BaseModel):
    version: int
    settings: Settings


class Predictor(BasePredictor):
    def predict(self, settings: Settings) -> Report:
        return Report(version=int(pydantic.VERSION[0]), settings=settings)

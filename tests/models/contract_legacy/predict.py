"""The shape of a model of the 0.14 generation: pydantic-style output model, File input, older import paths."""

import io
from typing import Any, Dict, List, Optional

from cog import BaseModel, File, Input, Path, Secret
from cog.base_predictor import BasePredictor
from cog.server.exceptions import CancelationException
from cog.types import Path as CogPath


class Segment(BaseModel):
    text: str
    start: float


class Output(BaseModel):
    language: Optional[str]
    text: str
    segments: List[Segment] = []
    subtitles: Optional[Path]


class Predictor(BasePredictor):
    def predict(
        self,
        audio: CogPath = Input(description="Audio file"),
        config: File = Input(default=None),
        token: Secret = Input(default=None),
        temperature: float = Input(default=0, ge=0, le=1),
        language: str = Input(default="auto", choices=["auto", "en", "de"]),
        extra: Dict[str, Any] = Input(default={}),
    ) -> Output:
        try:
            text = audio.read_text() + (config.read().decode() if config else "")
        except CancelationException:
            raise
        return Output(text=text, segments=[Segment(text=text, start=temperature)])

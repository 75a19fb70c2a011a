"""An async language model that takes several predictions at once."""

import asyncio
from typing import TypedDict

from cog import AsyncConcatenateIterator, BasePredictor, Input, concurrent
from cog.coder import json_coder  # noqa: F401


class Message(TypedDict, total=False):
    role: str
    content: str


class Predictor(BasePredictor):
    async def setup(self) -> None:
        self.ready = True

    @concurrent(max=4)
    async def predict(
        self,
        messages: list[Message] = Input(description="The conversation"),
        temperature: float = Input(default=0.7),
    ) -> AsyncConcatenateIterator[str]:
        for message in messages:
            await asyncio.sleep(0)
            yield message.get("content", "")

    async def healthcheck(self) -> bool:
        return self.ready

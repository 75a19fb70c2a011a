"""Models that say how they are: well until told otherwise."""

import asyncio
import time

from cog import BasePredictor


class Told(BasePredictor):
    def setup(self) -> None:
        self.mood = "well"

    def predict(self, mood: str = "") -> str:
        self.mood = mood or self.mood
        return self.mood

    def healthcheck(self) -> bool:
        print("checked")
        if self.mood == "raise":
            raise ValueError("poorly")
        if self.mood == "hang":
            time.sleep(600)
        return self.mood == "well"


class ToldWithAsyncCheck(BasePredictor):
    def setup(self) -> None:
        self.mood = "well"

    def predict(self, mood: str = "") -> str:
        self.mood = mood or self.mood
        return self.mood

    async def healthcheck(self) -> bool:
        await asyncio.sleep(0)
        if self.mood == "raise":
            raise ValueError("poorly")
        return self.mood == "well"


class ToldAsync(BasePredictor):
    async def setup(self) -> None:
        self.mood = "well"

    async def predict(self, mood: str = "") -> str:
        self.mood = mood or self.mood
        return self.mood

    async def healthcheck(self) -> bool:
        if self.mood == "raise":
            raise ValueError("poorly")
        return self.mood == "well"

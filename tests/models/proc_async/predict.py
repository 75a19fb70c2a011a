import asyncio
import contextvars
import os
import time
from collections.abc import AsyncIterator

from cog import BasePredictor, CancelationException, concurrent, current_scope


class Predictor(BasePredictor):
    async def setup(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.active = 0
        self.most = 0
        print("set up")

    @concurrent(max=4)
    async def predict(self, do: str = "echo", text: str = "", seconds: float = 0.0) -> object:
        return await getattr(self, do)(text, seconds)

    async def echo(self, text, seconds):
        return text

    async def same_loop(self, text, seconds):
        return asyncio.get_running_loop() is self.loop

    async def together(self, text, seconds):
        self.active += 1
        self.most = max(self.most, self.active)
        print(f"begin {text}")
        await asyncio.sleep(seconds)
        print(f"end {text}")
        self.active -= 1
        return self.most

    async def swallow(self, text, seconds):
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            print("swallowed")
        return text

    async def fail(self, text, seconds):
        raise ValueError(text)

    async def leave(self, text, seconds):
        raise SystemExit(4)

    async def cancel_itself(self, text, seconds):
        raise asyncio.CancelledError

    async def cancel_as_sync_code(self, text, seconds):
        raise CancelationException(text)

    async def threaded(self, text, seconds):
        await asyncio.to_thread(print, text)
        await asyncio.get_running_loop().run_in_executor(None, print, text)

    async def metric(self, text, seconds):
        await asyncio.sleep(0)
        current_scope().record_metric("tokens", int(text))
        return current_scope().context["who"]


class Tokens(BasePredictor):
    async def predict(
        self, count: int = 3, seconds: float = 0.0, fail_at: int = -1, cancel_at: int = -1
    ) -> AsyncIterator[str]:
        try:
            for number in range(count):
                if number == fail_at:
                    raise ValueError("no more")
                if number == cancel_at:
                    raise CancelationException
                yield f"{number} "
                await asyncio.sleep(seconds)
        finally:
            print("closed")

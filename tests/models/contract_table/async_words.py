"""The same as an async generator, of files and records."""

import asyncio
import tempfile
from typing import AsyncIterator

from cog import BaseModel, BaseRunner, Path, streaming


class Word(BaseModel):
    text: str
    file: Path


class Runner(BaseRunner):
    async def setup(self) -> None:
        self.folder = Path(tempfile.mkdtemp())

    @streaming
    async def run(self, wait_s: float = 100) -> AsyncIterator[Word]:
        for text in ("first", "last"):
            path = self.folder / "word.txt"
            path.write_text(text)
            yield Word(text=text, file=path)
            await asyncio.sleep(wait_s)

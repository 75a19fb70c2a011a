"""What tests ask of the other tasks of their process."""

import asyncio
from collections.abc import Callable


async def shortly(check: Callable[[], object], *, within_s: float = 120.0) -> None:
    """Lets the others have their turns until it is so: for what neither a clock nor another process decides."""
    async with asyncio.timeout(within_s):
        while not check():  # noqa: ASYNC110 - what is looked at sets no event
            await asyncio.sleep(0)

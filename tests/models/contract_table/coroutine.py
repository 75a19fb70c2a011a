"""An async function, several at once: each waits until all of them are there."""

import asyncio

from cog import Input, concurrent

HERE = []
ALL = asyncio.Event()


@concurrent(max=3)
async def predict(name: str, together: int = Input(default=1, le=3)) -> str:
    print(f"{name} is here")
    HERE.append(name)
    if len(HERE) >= together:
        ALL.set()
    await asyncio.wait_for(ALL.wait(), 30)
    print(f"{name} goes")
    return f"{name} of {sorted(HERE)}"

"""Runs blocking calls in threads when their resources are closed or removed right afterwards."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
ResultT = TypeVar("ResultT")


async def finish_in_thread(
    call: Callable[Parameters, ResultT], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> ResultT:
    """Run `call` as asyncio.to_thread does, but make a canceled caller wait until the call has ended.

    Otherwise the caller would close a descriptor that the thread still uses, and its number may already belong to
    another file.
    """
    work = asyncio.ensure_future(asyncio.to_thread(call, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError:
                continue
        if not work.cancelled():
            work.exception()  # retrieved, so that asyncio does not report it
        raise

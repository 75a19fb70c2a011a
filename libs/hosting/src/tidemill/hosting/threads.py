"""Blocking calls in threads, for work on things that are closed or removed right after."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
ResultT = TypeVar("ResultT")


async def finish_in_thread(
    call: Callable[Parameters, ResultT], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> ResultT:
    """As asyncio.to_thread, but a canceled caller waits until the call has ended.

    Otherwise the caller would close a descriptor that the thread is about to use, and by then its number may belong
    to another file.
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
            work.exception()  # looked at, so that asyncio does not report it as forgotten
        raise

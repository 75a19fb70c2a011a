"""Answers the worker's question whether the model is well, by the author's healthcheck() where there is one.

It is asked only while nothing runs: a model that is busy is not ill. The worker keeps the time.
"""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Final

from tidemill.model.errors import exceptions
from tidemill.model.wire.channel import Channel

REFUSED: Final = "healthcheck() returned False"

Healthcheck = Callable[[], Any]  # may be async


def tell(channel: Channel, healthcheck: Healthcheck) -> None:
    """On the main thread of a synchronous model, between two predictions."""
    try:
        answer = healthcheck()
        if inspect.iscoroutine(answer):
            answer = asyncio.run(answer)
        error = None if answer else REFUSED
    except BaseException as raised:  # noqa: BLE001  the boundary: the author's code
        error = _said(raised)
    _send(channel, error)


class Soon:
    """On the event loop of an asynchronous model."""

    def __init__(self, channel: Channel, healthcheck: Healthcheck) -> None:
        self._channel = channel
        self._healthcheck = healthcheck
        self._asked: set[asyncio.Task[None]] = set()

    def __call__(self) -> None:
        task = asyncio.get_running_loop().create_task(self._tell(), name="healthcheck")
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    async def _tell(self) -> None:
        try:
            answer = self._healthcheck()
            if inspect.isawaitable(answer):
                answer = await answer
            error = None if answer else REFUSED
        except asyncio.CancelledError:
            raise
        except BaseException as raised:  # noqa: BLE001  as above
            error = _said(raised)
        _send(self._channel, error)


def _said(raised: BaseException) -> str:
    exceptions.print_traceback(raised)
    return f"healthcheck() raised {type(raised).__name__}: {exceptions.describe(raised)}"


def _send(channel: Channel, error: str | None) -> None:
    channel.send({"t": "health", "error": error})

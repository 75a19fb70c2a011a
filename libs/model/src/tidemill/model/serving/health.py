"""Runs the author's healthcheck() when the worker asks for it.

The worker asks only while no prediction runs, and limits the time.
"""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Final

from tidemill.model.errors import exceptions
from tidemill.model.wire.channel import Channel

REFUSED: Final = "healthcheck() returned False"

Healthcheck = Callable[[], Any]  # may be async


def run_healthcheck(channel: Channel, healthcheck: Healthcheck) -> None:
    """Run it on the main thread of a synchronous model, between two predictions."""
    try:
        answer = healthcheck()
        if inspect.iscoroutine(answer):
            answer = asyncio.run(answer)
        error = None if answer else REFUSED
    except BaseException as raised:  # noqa: BLE001  the boundary: the author's code
        error = _error_text(raised)
    _send(channel, error)


class AsyncHealthcheck:
    """Runs it as a task on the event loop of an asynchronous model."""

    def __init__(self, channel: Channel, healthcheck: Healthcheck) -> None:
        self._channel = channel
        self._healthcheck = healthcheck
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self) -> None:
        task = asyncio.get_running_loop().create_task(self._run(), name="healthcheck")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        try:
            answer = self._healthcheck()
            if inspect.isawaitable(answer):
                answer = await answer
            error = None if answer else REFUSED
        except asyncio.CancelledError:
            raise
        except BaseException as raised:  # noqa: BLE001  as above
            error = _error_text(raised)
        _send(self._channel, error)


def _error_text(raised: BaseException) -> str:
    exceptions.print_traceback(raised)
    return f"healthcheck() raised {type(raised).__name__}: {exceptions.describe(raised)}"


def _send(channel: Channel, error: str | None) -> None:
    channel.send({"t": "health", "error": error})

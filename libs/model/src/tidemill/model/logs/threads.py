"""Threads, and work handed to threads, print and record for whom they were started or the work was handed over: Python
gives a new thread an empty context before 3.14, and a thread of a pool that of its first task.

asyncio.to_thread() and run_in_executor() pass through here too; tasks of asyncio take their context along themselves.
"""

import _thread
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from typing import Any, Final

from tidemill.model.logs.owners import bound, carried

_HANDED: Final = ("apply_async", "_map_async", "imap", "imap_unordered")  # of a pool; its other methods call these


def follow() -> None:
    """From here on, in this process."""
    _follow_threads()
    _follow(ThreadPoolExecutor, "submit")
    for name in _HANDED:
        _follow(ThreadPool, name)


def _follow(pool: type, name: str) -> None:
    original = getattr(pool, name)

    def handed(self: Any, *arguments: Any, **named: Any) -> Any:
        if arguments:
            return original(self, bound(arguments[0]), *arguments[1:], **named)
        return original(self, **{**named, "func": bound(named["func"])} if "func" in named else named)

    handed.__name__ = handed.__qualname__ = name
    setattr(pool, name, handed)


def _follow_threads() -> None:
    thread: Any = threading.Thread
    start, bootstrap, start_new = thread.start, thread._bootstrap_inner, _thread.start_new_thread  # noqa: SLF001

    def started(self: Any) -> None:
        self._take_over_owner = take_over = carried()
        if getattr(self, "_context", self) is None:  # from Python 3.14 on it is what run() runs in
            self._context = contextvars.Context()
            self._context.run(take_over)
        start(self)

    def bootstrapped(self: Any) -> None:
        self._take_over_owner()
        bootstrap(self)

    def start_new_thread(function: Callable[..., object], *arguments: Any) -> int:
        return start_new(bound(function), *arguments)

    thread.start, thread._bootstrap_inner = started, bootstrapped  # noqa: SLF001  there is no other way
    _thread.start_new_thread = start_new_thread

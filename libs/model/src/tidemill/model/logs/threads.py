"""Makes threads, and work handed to thread pools, inherit the owner and scope of the code that started them. Before
3.14 Python gives a new thread an empty context, and a pool's thread the context of its first task.

asyncio.to_thread() and run_in_executor() pass through here too; tasks of asyncio copy their context themselves.
"""

import _thread
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from typing import Any, Final

from tidemill.model.logs.owners import bind_context, capture_context

_SUBMITTING: Final = ("apply_async", "_map_async", "imap", "imap_unordered")  # a pool's other methods call these


def install() -> None:
    """Replace the functions, in this process, from now on."""
    _patch_threads()
    _patch_pool(ThreadPoolExecutor, "submit")
    for name in _SUBMITTING:
        _patch_pool(ThreadPool, name)


def _patch_pool(pool: type, name: str) -> None:
    original = getattr(pool, name)

    def submit(self: Any, *arguments: Any, **named: Any) -> Any:
        if arguments:
            return original(self, bind_context(arguments[0]), *arguments[1:], **named)
        return original(self, **{**named, "func": bind_context(named["func"])} if "func" in named else named)

    submit.__name__ = submit.__qualname__ = name
    setattr(pool, name, submit)


def _patch_threads() -> None:
    thread: Any = threading.Thread
    start, bootstrap, start_new = thread.start, thread._bootstrap_inner, _thread.start_new_thread  # noqa: SLF001

    def started(self: Any) -> None:
        self._restore_owner = restore = capture_context()
        if getattr(self, "_context", self) is None:  # from Python 3.14 on run() runs in this context
            self._context = contextvars.Context()
            self._context.run(restore)
        start(self)

    def bootstrapped(self: Any) -> None:
        self._restore_owner()
        bootstrap(self)

    def start_new_thread(function: Callable[..., object], *arguments: Any) -> int:
        return start_new(bind_context(function), *arguments)

    thread.start, thread._bootstrap_inner = started, bootstrapped  # noqa: SLF001  there is no other way
    _thread.start_new_thread = start_new_thread

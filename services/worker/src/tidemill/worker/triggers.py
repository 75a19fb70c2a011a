"""The worker's whole surface: what it listens to and what it does by itself, as data."""

from collections.abc import Awaitable, Callable
from typing import Any

from tidemill.contracts import subjects
from tidemill.contracts.events import Cancel, PriorityWaiting, PushQueued, QueueRemoved, VersionCreated, WorkerCommand
from tidemill.runtime.service import Listener


def listeners(
    worker: str,
    *,
    on_command: Callable[[WorkerCommand], Awaitable[Any]],
    on_cancel: Callable[[Cancel], Awaitable[None]],
    on_push: Callable[[PushQueued], Awaitable[None]],
    on_removed: Callable[[QueueRemoved], Awaitable[None]],
    on_version: Callable[[VersionCreated], Awaitable[None]],
    on_urgent: Callable[[PriorityWaiting], Awaitable[None]],
) -> tuple[Listener, ...]:
    """Besides these, the worker pulls jobs (`pulls`) of every queue it has instances for."""
    return (
        Listener(subjects.command(worker), WorkerCommand, on_command, answers=True),
        Listener(subjects.CANCEL, Cancel, on_cancel),
        Listener(subjects.PUSH_QUEUED, PushQueued, on_push),
        Listener(subjects.QUEUE_REMOVED, QueueRemoved, on_removed),
        Listener(subjects.VERSION_CREATED, VersionCreated, on_version),
        Listener(subjects.PRIORITY_WAITING, PriorityWaiting, on_urgent),
    )

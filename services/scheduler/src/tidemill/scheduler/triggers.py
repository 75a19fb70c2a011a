"""Everything that sets the scheduler in motion, on one screen."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from tidemill.contracts import events, subjects
from tidemill.runtime.leader import Leader
from tidemill.runtime.service import Listener, Timer
from tidemill.scheduler.handlers.planner import Planner
from tidemill.scheduler.handlers.sweeper import Sweeper


def listeners(planner: Planner, sweeper: Sweeper) -> tuple[Listener, ...]:
    return (
        Listener(subjects.HEARTBEAT, events.Heartbeat, planner.hear),
        Listener(subjects.DEMAND, events.Demand, planner.want),
        Listener(subjects.WAITING_LIST, events.WaitingListRequest, sweeper.line, answers=True),
    )


def timers(
    leader: Leader, planner: Planner, sweeper: Sweeper, follow: Callable[[], Coroutine[Any, Any, None]]
) -> tuple[Timer, ...]:
    return (
        Timer("lead", leader.keep),
        Timer("plan", planner.run),  # every tick_s, and at once on demand or a heartbeat
        Timer("sweep", sweeper.run),  # every sweep_s
        Timer("deployments", follow),  # every second
    )


def on_reconnected(planner: Planner, sweeper: Sweeper) -> tuple[Callable[[], Awaitable[None]], ...]:
    return (planner.settle, sweeper.bus_is_back)

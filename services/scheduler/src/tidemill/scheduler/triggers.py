"""All triggers of the scheduler: bus subjects and timers."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from tidemill.contracts import events, subjects
from tidemill.runtime.leader import Leader
from tidemill.runtime.service import Listener, Timer
from tidemill.scheduler.handlers.planner import Planner
from tidemill.scheduler.handlers.sweeper import Sweeper


def listeners(planner: Planner, sweeper: Sweeper) -> tuple[Listener, ...]:
    return (
        Listener(subjects.HEARTBEAT, events.Heartbeat, planner.on_heartbeat),
        Listener(subjects.DEMAND, events.Demand, planner.on_demand),
        Listener(subjects.WAITING_LIST, events.WaitingListRequest, sweeper.waiting_list, answers=True),
    )


def timers(
    leader: Leader, planner: Planner, sweeper: Sweeper, poll_deployments: Callable[[], Coroutine[Any, Any, None]]
) -> tuple[Timer, ...]:
    return (
        Timer("lead", leader.keep),
        Timer("plan", planner.run),  # every tick_s, and at once on demand or a heartbeat
        Timer("sweep", sweeper.run),  # every sweep_s
        Timer("deployments", poll_deployments),  # every second
    )


def on_reconnected(planner: Planner, sweeper: Sweeper) -> tuple[Callable[[], Awaitable[None]], ...]:
    return (planner.restart_settling, sweeper.on_bus_reconnected)

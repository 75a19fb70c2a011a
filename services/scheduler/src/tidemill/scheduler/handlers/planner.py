"""Keeps the view of the fleet, plans when something happens, and has workers boot and stop instances.

Only the leader commands; a standby keeps its view warm. A command never holds the planner up, and one that is refused
or lost is simply planned again.
"""

import asyncio
from typing import Final, Protocol

import msgspec
from prometheus_client import Counter

from tidemill.contracts import events, subjects
from tidemill.contracts.ids import new_id
from tidemill.runtime.bus import Bus
from tidemill.runtime.clock import monotonic
from tidemill.runtime.leader import Leader
from tidemill.runtime.tasks import set_within
from tidemill.runtime.telemetry import log
from tidemill.scheduler import backlogs
from tidemill.scheduler.boots import BootHistory
from tidemill.scheduler.config import Config
from tidemill.scheduler.deployed import Deployed
from tidemill.scheduler.fleet import Failure, Fleet, View
from tidemill.scheduler.handlers.round import Seen
from tidemill.scheduler.placement import Action, Boot, QueuePolicy, Rules, cold_since, plan

PLAN_GAP_S: Final = 0.02  # what happens meanwhile is planned together; nobody notices a boot this much later
COMMAND_TRIES: Final = 2  # with the same instance, so that a lost reply boots nothing twice

COMMANDS: Final = Counter("tidemill_scheduler_commands_total", "Commands to workers", ["command", "result"])


class Rows(Protocol):
    """What the planner needs of the sweep."""

    def seen(self) -> Seen: ...

    def give_up(self, queue: str, reason: str) -> None: ...

    def given_up(self) -> frozenset[str]: ...

    def live_workers(self) -> frozenset[str]: ...


class Planner:
    def __init__(self, config: Config, bus: Bus, leader: Leader, rows: Rows, deployed: Deployed) -> None:
        self._config = config
        self._deployed = deployed
        self._bus = bus
        self._leader = leader
        self._rows = rows
        self.fleet = Fleet(silent_after_s=config.silent_after_s)
        self._history = BootHistory(
            failures_limit=config.boot_failures_limit,
            failures_limit_s=config.boot_failures_limit_s,
            backoff_s=config.boot_backoff_s,
            backoff_limit_s=config.boot_backoff_limit_s,
        )
        self._rules = Rules(
            idle_stop_s=config.idle_stop_s,
            scale_factor=config.scale_factor,
            min_resident_s=config.min_resident_s,
            default=QueuePolicy(max_instances=config.max_instances_per_queue),
        )
        self._cold_since: dict[str, float] = {}
        self._ready_since: dict[str, float] = {}
        self._full_since: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._listening_since = 0.0
        self._warm: events.WarmQueues | None = None
        self._warm_told_at = 0.0

    async def hear(self, beat: events.Heartbeat) -> None:
        failures = self.fleet.hear(beat, monotonic())
        self._history.succeeded(each.queue for each in beat.instances if each.state == "ready")
        for failure in failures:
            self._note(failure)
        self._wake.set()

    def _note(self, failure: Failure) -> None:
        now = monotonic()
        hopeless = self._history.failed(failure.queue, now, failure.took_s)
        log().warning("boot failed", action="boot", queue=failure.queue, instance=failure.instance, final=hopeless)
        if hopeless and failure.queue not in self.fleet.view(now).ready_queues():
            self._rows.give_up(failure.queue, failure.error)

    def warm(self) -> list[str]:
        """Queues that have been ready for so long that what waited for the boot has been begun, or must wait."""
        begun = monotonic() - backlogs.CLAIMED_WITHIN_S
        return [queue for queue, since in self._ready_since.items() if since <= begun]

    async def want(self, demand: events.Demand) -> None:
        if self.fleet.hint(demand.queue, monotonic()):
            self._wake.set()

    async def settle(self) -> None:
        """Begins to listen anew: until every worker has been heard, the fleet looks smaller than it is."""
        self._listening_since = monotonic()

    def _settled(self, view: View, now: float) -> bool:
        if not self._deployed.known:
            return False
        if now - self._listening_since >= self._config.settle_s:
            return True
        heard = {name for name, worker in view.workers.items() if worker.seen_at >= self._listening_since}
        leased = self._rows.live_workers()
        return bool(leased) and leased <= heard

    async def run(self) -> None:
        await self.settle()
        async with asyncio.TaskGroup() as commands:
            while True:
                await self._woken()
                now = monotonic()
                view = self._refreshed(now)
                if self._leader.held and self._settled(view, now):
                    for action in self._plan(view, now):
                        commands.create_task(self._command(action, self._pending(action)), name="command")
                    await self._tell_warm(view, now)
                await asyncio.sleep(PLAN_GAP_S)

    async def _woken(self) -> None:
        await set_within(self._wake, self._config.tick_s)
        self._wake.clear()

    def _refreshed(self, now: float) -> View:
        self.fleet.expire(now)
        self._history.expire(now)
        view = self.fleet.view(now)
        self.fleet.note_quiet(view, now)
        self._ready_since = {queue: self._ready_since.get(queue, now) for queue in view.ready_queues()}
        self._full_since = backlogs.full_since(self._full_since, view, now)
        return view

    def _plan(self, view: View, now: float) -> list[Action]:
        seen = self._rows.seen()
        self._cold_since = cold_since(self._cold_since, view, seen.waiting, now)
        kept = backlogs.kept_waiting(seen.kept, seen.at, self._full_since)
        waiting = seen.waiting._replace(cold_since=self._cold_since, kept=kept)
        policies = self._deployed.policies(frozenset(view.ready_queues()), now)
        if policies is not self._rules.policies:
            self._rules = msgspec.structs.replace(self._rules, policies=policies)
        # What waits in a queue that was given up fails at the next sweep: no boot is of use to it.
        return plan(view, waiting, self._rules, self._history.held_off(now) | self._rows.given_up())

    def _pending(self, action: Action) -> events.WorkerCommand:
        """The command of an action; from now on the fleet looks as if it had been obeyed."""
        if isinstance(action, Boot):
            instance = f"i_{new_id()}"
            self.fleet.asked_boot(instance, action.queue, action.worker)
            return events.BootInstance(instance=instance, queue=action.queue)
        self.fleet.asked_stop(action.instance, action.worker)
        return events.StopInstance(instance=action.instance)

    async def _command(self, action: Action, command: events.WorkerCommand) -> None:
        reply = await self._ask(action.worker, command)
        name = "boot" if isinstance(command, events.BootInstance) else "stop"
        queue, reason = (action.queue, None) if isinstance(action, Boot) else (None, action.reason)
        logger = log().bind(action=name, instance=command.instance, worker=action.worker, queue=queue, reason=reason)
        if reply is not None and reply.accepted:
            self.fleet.accepted(command.instance, monotonic())
            logger.info("commanded")
        else:
            self.fleet.refused(command.instance, monotonic())
            logger.warning("not obeyed", answer="none" if reply is None else reply.reason)
        COMMANDS.labels(name, "none" if reply is None else "accepted" if reply.accepted else "refused").inc()

    async def _ask(self, worker: str, command: events.WorkerCommand) -> events.CommandReply | None:
        for _ in range(COMMAND_TRIES):
            if not self._leader.held:  # somebody else may be planning already
                return None
            try:
                reply = await self._bus.ask(
                    subjects.command(worker), command, events.CommandReply, timeout_s=self._config.command_timeout_s
                )
            except msgspec.DecodeError:
                return events.CommandReply(accepted=False, reason="an answer that cannot be read")
            if reply is not None:
                return reply
        return None

    async def _tell_warm(self, view: View, now: float) -> None:
        retrying = sorted(self._history.held_off(now).difference(view.ready_queues()))
        warm = events.WarmQueues(queues=view.ready_queues(), booting=view.booting_queues(), retrying=retrying)
        if self._bus.connected and (warm != self._warm or now - self._warm_told_at >= self._config.warm_s):
            await self._bus.send(subjects.WARM_QUEUES, warm)
            self._warm, self._warm_told_at = warm, now

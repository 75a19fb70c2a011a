"""Maintains the view of the fleet, plans on events, and commands workers to boot and stop instances.

Only the leader sends commands; a standby keeps its view up to date. A command never blocks the planner; one that is
refused or lost is planned again.
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
from tidemill.scheduler.boot_history import BootHistory
from tidemill.scheduler.config import Config
from tidemill.scheduler.deployment_policies import DeploymentPolicies
from tidemill.scheduler.fleet import BootFailure, Fleet, FleetView
from tidemill.scheduler.handlers.leader_sweep import SweepSnapshot
from tidemill.scheduler.placement import Action, PlacementRules, PlannedBoot, QueuePolicy, cold_since, plan

PLAN_GAP_S: Final = 0.02  # events within it are planned together; a boot this much later makes no difference
COMMAND_TRIES: Final = 2  # with the same instance id, so that a lost reply boots nothing twice

COMMANDS: Final = Counter("tidemill_scheduler_commands_total", "Commands to workers", ["command", "result"])


class SweepState(Protocol):
    """What the planner needs from the sweep."""

    def snapshot(self) -> SweepSnapshot: ...

    def fail_waiting(self, queue: str, reason: str) -> None: ...

    def failing_queues(self) -> frozenset[str]: ...

    def live_workers(self) -> frozenset[str]: ...


class Planner:
    def __init__(
        self, config: Config, bus: Bus, leader: Leader, sweep: SweepState, policies: DeploymentPolicies
    ) -> None:
        self._config = config
        self._policies = policies
        self._bus = bus
        self._leader = leader
        self._sweep = sweep
        self.fleet = Fleet(silent_after_s=config.silent_after_s)
        self._history = BootHistory(
            failures_limit=config.boot_failures_limit,
            failures_limit_s=config.boot_failures_limit_s,
            backoff_s=config.boot_backoff_s,
            backoff_limit_s=config.boot_backoff_limit_s,
        )
        self._rules = PlacementRules(
            idle_stop_s=config.idle_stop_s,
            scale_factor=config.scale_factor,
            min_resident_s=config.min_resident_s,
            default=QueuePolicy(max_instances=config.max_instances_per_queue),
        )
        self._cold_since: dict[str, float] = {}
        self._ready_since: dict[str, float] = {}
        self._saturated_since: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._listening_since = 0.0
        self._warm: events.WarmQueues | None = None
        self._warm_sent_at = 0.0

    async def on_heartbeat(self, beat: events.Heartbeat) -> None:
        failures = self.fleet.apply_heartbeat(beat, monotonic())
        self._history.record_success(each.queue for each in beat.instances if each.state == "ready")
        for failure in failures:
            self._record_failure(failure)
        self._wake.set()

    def _record_failure(self, failure: BootFailure) -> None:
        now = monotonic()
        is_final = self._history.record_failure(failure.queue, now, failure.took_s)
        log().warning("boot failed", action="boot", queue=failure.queue, instance=failure.instance, final=is_final)
        if is_final and failure.queue not in self.fleet.view(now).ready_queues():
            self._sweep.fail_waiting(failure.queue, failure.error)

    def warm(self) -> list[str]:
        """Return the queues that have been ready long enough to have taken what waited for their boot."""
        begun = monotonic() - backlogs.CLAIM_DELAY_LIMIT_S
        return [queue for queue, since in self._ready_since.items() if since <= begun]

    async def on_demand(self, demand: events.Demand) -> None:
        if self.fleet.record_demand(demand.queue, monotonic()):
            self._wake.set()

    async def restart_settling(self) -> None:
        """Wait again until every worker has sent a heartbeat: until then the fleet looks smaller than it is."""
        self._listening_since = monotonic()

    def _is_settled(self, view: FleetView, now: float) -> bool:
        if not self._policies.is_loaded:
            return False
        if now - self._listening_since >= self._config.settle_s:
            return True
        heard = {name for name, worker in view.workers.items() if worker.seen_at >= self._listening_since}
        leased = self._sweep.live_workers()
        return bool(leased) and leased <= heard

    async def run(self) -> None:
        await self.restart_settling()
        async with asyncio.TaskGroup() as commands:
            while True:
                await self._wait_for_work()
                now = monotonic()
                view = self._refresh_view(now)
                if self._leader.held and self._is_settled(view, now):
                    for action in self._plan(view, now):
                        commands.create_task(self._send_command(action, self._register_command(action)), name="command")
                    await self._send_warm_queues(view, now)
                await asyncio.sleep(PLAN_GAP_S)

    async def _wait_for_work(self) -> None:
        await set_within(self._wake, self._config.tick_s)
        self._wake.clear()

    def _refresh_view(self, now: float) -> FleetView:
        self.fleet.expire(now)
        self._history.expire(now)
        view = self.fleet.view(now)
        self.fleet.update_quiet_queues(view, now)
        self._ready_since = {queue: self._ready_since.get(queue, now) for queue in view.ready_queues()}
        self._saturated_since = backlogs.saturated_since(self._saturated_since, view, now)
        return view

    def _plan(self, view: FleetView, now: float) -> list[Action]:
        seen = self._sweep.snapshot()
        self._cold_since = cold_since(self._cold_since, view, seen.waiting, now)
        confirmed = backlogs.confirmed_backlogs(seen.backlogs, seen.at, self._saturated_since)
        waiting = seen.waiting._replace(cold_since=self._cold_since, backlogs=confirmed)
        policies = self._policies.policies(frozenset(view.ready_queues()), now)
        if policies is not self._rules.policies:
            self._rules = msgspec.structs.replace(self._rules, policies=policies)
        # The predictions of a failing queue fail at the next sweep, so it needs no boot.
        return plan(view, waiting, self._rules, self._history.backing_off(now) | self._sweep.failing_queues())

    def _register_command(self, action: Action) -> events.WorkerCommand:
        """Return the command of an action; from now on the fleet view includes its effect."""
        if isinstance(action, PlannedBoot):
            instance = f"i_{new_id()}"
            self.fleet.add_pending_boot(instance, action.queue, action.worker)
            return events.BootInstance(instance=instance, queue=action.queue)
        self.fleet.add_pending_stop(action.instance, action.worker)
        return events.StopInstance(instance=action.instance)

    async def _send_command(self, action: Action, command: events.WorkerCommand) -> None:
        reply = await self._request(action.worker, command)
        name = "boot" if isinstance(command, events.BootInstance) else "stop"
        queue, reason = (action.queue, None) if isinstance(action, PlannedBoot) else (None, action.reason)
        logger = log().bind(action=name, instance=command.instance, worker=action.worker, queue=queue, reason=reason)
        if reply is not None and reply.accepted:
            self.fleet.command_accepted(command.instance, monotonic())
            logger.info("commanded")
        else:
            self.fleet.command_refused(command.instance, monotonic())
            logger.warning("command refused", answer="none" if reply is None else reply.reason)
        COMMANDS.labels(name, "none" if reply is None else "accepted" if reply.accepted else "refused").inc()

    async def _request(self, worker: str, command: events.WorkerCommand) -> events.CommandReply | None:
        for _ in range(COMMAND_TRIES):
            if not self._leader.held:  # another scheduler may be planning already
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

    async def _send_warm_queues(self, view: FleetView, now: float) -> None:
        retrying = sorted(self._history.backing_off(now).difference(view.ready_queues()))
        warm = events.WarmQueues(queues=view.ready_queues(), booting=view.booting_queues(), retrying=retrying)
        if self._bus.connected and (warm != self._warm or now - self._warm_sent_at >= self._config.warm_s):
            await self._bus.send(subjects.WARM_QUEUES, warm)
            self._warm, self._warm_sent_at = warm, now

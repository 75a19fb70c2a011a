"""Ends runs whose time is up: those past their deadline or their time limit, and those that do not obey a stop."""

import asyncio
from collections.abc import Mapping
from typing import Final

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.prediction import Status
from tidemill.runtime.clock import monotonic, now
from tidemill.runtime.telemetry import log
from tidemill.worker.runs.engine import Engine
from tidemill.worker.runs.run import Run, StopReason

WATCH_S: Final = 0.25  # how often deadlines, time limits and stubborn runs are looked at


class Watchdog:
    """`time_limit_s` is for all; accounts may have a shorter one of their own."""

    def __init__(self, engine: Engine, *, time_limit_s: float, kill_after_s: float) -> None:
        self._engine = engine
        self._time_limit_s = time_limit_s
        self._kill_after_s = kill_after_s
        self._by_account: Mapping[str, float] = {}

    def limit_times(self, by_account: Mapping[str, float]) -> None:
        self._by_account = by_account

    async def watch(self) -> None:
        """Named task: deadlines, time limits, and children that do not stop."""
        while True:
            await asyncio.sleep(WATCH_S)
            moment = now()
            for run in list(self._engine.runs.values()):
                if run.stop is not None:
                    self._end_if_stubborn(run, run.stop)
                elif run.job.deadline is not None and run.job.deadline <= moment:
                    self._engine.stop(run, StopReason(Status.CANCELED, None, ErrorCode.DEADLINE))
                elif run.claimed and moment - run.started_at > (limit := self._limit_s(run)):
                    message = f"The prediction ran longer than the time limit of {limit:g} s."
                    self._engine.stop(run, StopReason(Status.FAILED, message, ErrorCode.TIME_LIMIT))

    def _limit_s(self, run: Run) -> float:
        return min(self._time_limit_s, self._by_account.get(run.job.account, self._time_limit_s))

    def _end_if_stubborn(self, run: Run, stop: StopReason) -> None:
        if monotonic() - run.stop_since < self._kill_after_s:
            return
        instance = self._engine.instance_of(run)
        if instance is not None and instance.goes_on_without(run):
            del instance.runs[run.job.id]  # what the child still says of it is nobody's
            self._engine.end(run, stop)
        elif instance is not None and instance.child is not None:
            log().warning("killing", action="kill", instance=instance.id, prediction=run.job.id)
            instance.child.kill()

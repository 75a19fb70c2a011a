"""Stops runs whose time is over: those past their deadline or time limit. Kills children that do not stop a run."""

import asyncio
from collections.abc import Mapping
from typing import Final

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.prediction import Status
from tidemill.runtime.clock import monotonic, now
from tidemill.runtime.telemetry import log
from tidemill.worker.runs.run import Run, StopReason
from tidemill.worker.runs.run_ends import RunEnds
from tidemill.worker.runs.run_table import RunTable

WATCH_S: Final = 0.25  # between two checks of deadlines, time limits and runs that do not stop


class Watchdog:
    """`time_limit_s` holds for all accounts; an account may have a shorter one of its own."""

    def __init__(self, table: RunTable, ends: RunEnds, *, time_limit_s: float, kill_after_s: float) -> None:
        self._table = table
        self._ends = ends
        self._time_limit_s = time_limit_s
        self._kill_after_s = kill_after_s
        self._limits_by_account: Mapping[str, float] = {}

    def set_account_limits(self, limits_s: Mapping[str, float]) -> None:
        self._limits_by_account = limits_s

    async def watch(self) -> None:
        """Named task."""
        while True:
            await asyncio.sleep(WATCH_S)
            moment = now()
            for run in list(self._table.runs.values()):
                if run.stop is not None:
                    self._end_if_overdue(run, run.stop)
                elif run.job.deadline is not None and run.job.deadline <= moment:
                    self._ends.stop(run, StopReason(Status.CANCELED, None, ErrorCode.DEADLINE))
                elif run.claimed and moment - run.started_at > (limit := self._limit_s(run)):
                    message = f"The prediction ran longer than the time limit of {limit:g} s."
                    self._ends.stop(run, StopReason(Status.FAILED, message, ErrorCode.TIME_LIMIT))

    def _limit_s(self, run: Run) -> float:
        return min(self._time_limit_s, self._limits_by_account.get(run.job.account, self._time_limit_s))

    def _end_if_overdue(self, run: Run, reason: StopReason) -> None:
        if monotonic() - run.stop_since < self._kill_after_s:
            return
        instance = self._table.instance_of(run)
        if instance is not None and instance.is_needed_by_others(run):
            del instance.runs[run.job.id]  # what the child still sends for it is dropped
            self._ends.end(run, reason)
        elif instance is not None and instance.child is not None:
            log().warning("killing", action="kill", instance=instance.id, prediction=run.job.id)
            instance.child.kill()

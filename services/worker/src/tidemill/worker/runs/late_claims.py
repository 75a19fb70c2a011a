"""Late claims: a run's claim is written only if its child still works on it a moment after it began (ADR 2).

A run that was sent ahead to a busy child stays unclaimed. It is recalled when that lasts long.
"""

import asyncio
from typing import Final

from tidemill.runtime.clock import monotonic, now
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.run import Run
from tidemill.worker.runs.run_ends import RunEnds
from tidemill.worker.runs.run_writer import RunWriter

CLAIM_AFTER_S: Final = 0.005  # a run that ends sooner needs no claim
RECALL_AFTER_S: Final = 0.1  # runs sent ahead are recalled when the run before them takes this long


class LateClaims:
    """A run whose row belongs to another worker by then, or has ended, is lost (`RunEnds.lose`)."""

    def __init__(self, writer: RunWriter, ends: RunEnds) -> None:
        self._writer = writer
        self._ends = ends
        self._unclaimed: list[tuple[Instance, Run]] = []
        self._timer: asyncio.TimerHandle | None = None

    def claim_now(self, run: Run) -> None:
        if not run.claimed:
            self._writer.claim(run, self._ends.lose)

    def claim_later(self, instance: Instance, run: Run) -> None:
        self._unclaimed.append((instance, run))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CLAIM_AFTER_S, self._claim_due)

    def _claim_due(self) -> None:
        """Claim what children have worked on for CLAIM_AFTER_S. What was sent ahead waits on, or is recalled."""
        self._timer = None
        moment = monotonic()
        left = []
        for instance, run in self._unclaimed:
            if run.claimed or instance.runs.get(run.job.id) is not run:
                continue
            if moment - run.sent >= CLAIM_AFTER_S * 0.9 and instance.is_running(run):
                run.started_at = now()
                self.claim_now(run)
                continue
            # A run that waits for a batched child's next call is not recalled: it would be sent there again at once.
            late = moment - run.sent > RECALL_AFTER_S and not instance.batched
            if late and not run.recalled and instance.child is not None:
                run.recalled = True
                instance.child.cancel(run.job.id)
            left.append((instance, run))
        self._unclaimed = left
        if left:
            self._timer = asyncio.get_running_loop().call_later(CLAIM_AFTER_S, self._claim_due)

"""Late claims: a run is claimed only when its child is still at it a moment after it began (ADR 2).

What was sent ahead to a busy child waits unclaimed, and is asked back when that takes long.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from tidemill.runtime.clock import monotonic, now
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.run import Run

CLAIM_AFTER_S: Final = 0.005  # a run that ends sooner needs no claim
RECALL_AFTER_S: Final = 0.1  # runs sent ahead are asked back when the one before them takes this long


class LateClaims:
    """`write` claims a run in the rows; it answers by itself when the row is somebody else's."""

    def __init__(self, write: Callable[[Run], None]) -> None:
        self._write = write
        self._unclaimed: list[tuple[Instance, Run]] = []
        self._timer: asyncio.TimerHandle | None = None

    def at_once(self, run: Run) -> None:
        if not run.claimed:
            self._write(run)

    def later(self, instance: Instance, run: Run) -> None:
        self._unclaimed.append((instance, run))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CLAIM_AFTER_S, self._due)

    def _due(self) -> None:
        """Claims what its child is at since CLAIM_AFTER_S; what was sent ahead waits on, or is asked back."""
        self._timer = None
        moment = monotonic()
        left = []
        for instance, run in self._unclaimed:
            if run.claimed or instance.runs.get(run.job.id) is not run:
                continue
            if moment - run.sent >= CLAIM_AFTER_S * 0.9 and instance.is_at(run):
                run.started_at = now()
                self._write(run)
                continue
            # What waits for a batched child's next call is not asked back: it would be sent there again at once.
            late = moment - run.sent > RECALL_AFTER_S and not instance.batched
            if late and not run.recalled and instance.child is not None:
                run.recalled = True
                instance.child.cancel(run.job.id)
            left.append((instance, run))
        self._unclaimed = left
        if left:
            self._timer = asyncio.get_running_loop().call_later(CLAIM_AFTER_S, self._due)

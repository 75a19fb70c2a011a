"""Priority claims: the rows choose which prediction of an account begins at a hint, and claim it (ADR 6)."""

from tidemill.contracts.events import Job
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.requeue import Requeue
from tidemill.worker.runs.run import Run
from tidemill.worker.runs.run_table import RunTable
from tidemill.worker.runs.run_writer import RunWriter


class PriorityClaims:
    def __init__(self, table: RunTable, writer: RunWriter, requeue: Requeue) -> None:
        self._table = table
        self._writer = writer
        self._requeue = requeue

    async def claim(self, instance: Instance, hint: Job) -> Run | None:
        """Return the claimed run that is to begin on the instance, or None if there is none.

        If the instance takes no runs any more, the claimed run is requeued. The caller reserves a place meanwhile.
        """
        hints = self._table.priority_hints
        number = hints.number(instance.queue, hint.account)
        claimed = await self._writer.claim_at_hint(instance.queue, hint)
        if not claimed.more:
            hints.settle(instance.queue, hint.account, number)
        if claimed.job is None:
            return None
        known = self._table.runs.get(claimed.job.id)
        if known is not None:  # from a repeated hint
            known.claimed = True
            return None
        run = Run(claimed.job, instance.queue)
        run.claimed = True
        if instance.state == "ready" and self._table.queue(instance.queue).instances.get(instance.id) is instance:
            return run
        await self._requeue.unclaim([run])
        return None

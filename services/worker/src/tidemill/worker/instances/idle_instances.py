"""Which instances may be stopped for another one that needs their GPUs: those that are ready and run nothing."""

from tidemill.runtime.clock import monotonic
from tidemill.worker.runs.run_table import RunTable


class IdleInstances:
    def __init__(self, table: RunTable) -> None:
        self._table = table

    def idle_s(self, identifier: str) -> float | None:
        """Return for how long the instance has been idle, or None if it must not be stopped for another."""
        instance = self._table.instances().get(identifier)
        if instance is None or instance.state != "ready" or instance.runs:
            return None
        return monotonic() - instance.idle_since

    def stop(self, identifier: str) -> None:
        """Drain the instance: it may have been given a run meanwhile."""
        instance = self._table.instances().get(identifier)
        if instance is not None and instance.state == "ready":
            instance.drain()

"""Which instances may have to stop for another's sake: for GPUs that they hold and do not use."""

from tidemill.runtime.clock import monotonic
from tidemill.worker.runs.engine import Engine


class IdleInstances:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def idle_s(self, identifier: str) -> float | None:
        """None while the instance must not stop for another's sake."""
        instance = self._engine.instances().get(identifier)
        if instance is None or instance.state != "ready" or instance.runs:
            return None
        return monotonic() - instance.idle_since

    def stop(self, identifier: str) -> None:
        """By draining: it may have been given something meanwhile."""
        instance = self._engine.instances().get(identifier)
        if instance is not None and instance.state == "ready":
            instance.drain()

"""Metrics, context, cancelation, and what a prediction leaves to the next one."""

import time
from typing import Any

import cog
from cog import BasePredictor, CancelationException, current_scope


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.cleaned = 0
        cog.current_scope().record_metric("outside", 1)  # of no prediction: nothing happens

    def predict(self, do: str) -> Any:
        return getattr(self, do)()

    def metrics(self):
        self.record_metric("tokens.output", 2)
        self.record_metric("tokens.output", 3, mode="incr")
        self.record_metric("steps", "a", mode="append")
        current_scope().record_metric("steps", "b", mode="append")
        current_scope().metrics["gone"] = 1
        del current_scope().metrics["gone"]
        self.scope.metrics["name"] = "x"
        cog.emit_metric("old", True)
        return dict(self.scope.context)

    def wait(self):
        print("waiting", flush=True)
        try:
            for _ in range(1000):
                time.sleep(0.1)
        except CancelationException:
            self.cleaned += 1
            raise
        return "never"

    def give_up(self):
        raise CancelationException

    def cleanups(self):
        return self.cleaned

    def bar(self):
        print("\r 50%|#####     | 1/2 [00:01<00:01]", end="")
        return "half"

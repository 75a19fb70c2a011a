"""One call for many predictions; each input says what is to happen to it."""

import ctypes
import os
import time
from typing import Any

import cog
from cog import BasePredictor, Batch, Input, Path


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.calls: list[list[str]] = []

    @cog.batch(max_size=8, max_wait_ms=200)
    def predict(
        self,
        do: Batch[str] = Input(default="echo"),
        text: Batch[str] = Input(default=""),
        seconds: Batch[float] = Input(default=0.0, ge=0),
        mode: str = Input(default="one"),
    ) -> Batch[Any]:
        self.calls.append(list(text))
        if "say" in do:
            print(f"{len(do)} of mode {mode}")
        if "say_c" in do:
            ctypes.CDLL(None).puts(b"from C")
        if "raise" in do:
            raise RuntimeError("this call cannot be computed")
        if "crash" in do:
            os.kill(os.getpid(), 11)
        if "short" in do:
            return []
        self.record_metric("width", len(do))
        time.sleep(max(seconds))
        return [self.one(*values) for values in zip(range(len(do)), do, text, strict=True)]

    def one(self, number: int, do: str, text: str) -> Any:
        scope = cog.current_scope().batch[number]
        if do == "fail":
            return ValueError(f"not {text}")
        if do == "nan":
            return float("nan")
        if do == "file":
            path = Path(os.environ["TMPDIR"]) / f"{number}.txt"
            path.write_text(text)
            return path
        if do == "who":
            return scope.context.get("who")
        if do == "metric":
            scope.record_metric("length", len(text))
        if do == "calls":
            return self.calls
        return text


@cog.batch(max_size=64, max_wait_ms=0)
def at_hand(text: Batch[str]) -> Batch[str]:
    return [f"{each} of {len(text)}" for each in text]

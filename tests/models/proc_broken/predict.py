"""Entries that do not boot, each for a reason of its own, and two that stream."""

import sys
from collections.abc import Iterator

from cog import BasePredictor, CancelationException, Path


class FailsInSetup(BasePredictor):
    def setup(self) -> None:
        print("about to fail")
        raise RuntimeError("no weights here")

    def predict(self) -> str:
        return ""


class LeavesInSetup(BasePredictor):
    def setup(self) -> None:
        sys.exit("gone")

    def predict(self) -> str:
        return ""


class NoAnnotation(BasePredictor):
    def predict(self, text):
        return text


class TakesWeights(BasePredictor):
    def setup(self, weights: str | None = None) -> None:
        self.weights = weights

    def predict(self) -> str:
        return str(self.weights)


class Streams(BasePredictor):
    def predict(self, count: int = 3, fail_at: int = -1, cancel_at: int = -1) -> Iterator[str]:
        try:
            number = 0
            while number < count:
                if number == fail_at:
                    raise ValueError("no more")
                if number == cancel_at:
                    raise CancelationException
                yield f"{number} "
                number += 1
        finally:
            print("closed")


class StreamsFiles(BasePredictor):
    def predict(self, count: int = 2) -> Iterator[Path]:
        for number in range(count):
            path = Path(f"/dev/shm/{number}.txt")
            path.write_text(str(number))
            yield path


def train(text: str) -> str:
    return text.upper()

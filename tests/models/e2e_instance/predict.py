"""A model that uses what an instance is given, and goes beyond it."""

import ctypes
import os
import signal
import time

from cog import BasePredictor, Path


class Predictor(BasePredictor):
    def setup(self) -> None:
        print("loading")
        self.well = True

    def predict(self, do: str = "write", text: str = "") -> Path:
        getattr(self, do)(text)
        Path("out.txt").write_text(text)
        return Path("out.txt")

    def write(self, text: str) -> None:
        """Changes its own code, as some models do with their settings."""
        with Path(__file__).open("a") as own:
            own.write(f"# {text}\n")

    def bar(self, text: str) -> None:
        """As tqdm draws it, until the file comes or a minute is over."""
        for number in range(600):
            print(f"\rDenoising: {min(number, 90):3}%|###       | {number}/100 [00:01<00:03]", end="", flush=True)
            time.sleep(0.1)

    def allocate(self, text: str) -> None:
        bytearray(1 << 40)

    def crash(self, text: str) -> None:
        print("last words", flush=True)
        ctypes.string_at(0)

    def stop(self, text: str) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def close(self, text: str) -> None:
        os.closerange(3, 1000)
        time.sleep(600)

    def raise_(self, text: str) -> None:
        raise ValueError(text)

    def flood(self, text: str) -> None:
        """Until it is ended."""
        line = "x" * 100_000
        while True:
            print(line)

    def sicken(self, text: str) -> None:
        self.well = False

    def pid(self, text: str) -> None:
        print(os.getpid())

    def healthcheck(self) -> bool:
        return self.well

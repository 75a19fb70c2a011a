"""A model that holds more memory than cpu-small gives it, where its own process does not show it."""

import os
import time

from cog import BasePredictor

PIECE = bytes(64 << 20)


class Predictor(BasePredictor):
    def predict(self, do: str) -> str:
        getattr(self, do)()
        time.sleep(600)
        return "nobody minded"

    def orphans(self) -> None:
        """Each below what one process may have, and no child of ours any more."""
        for _ in range(2):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    held = bytearray(1300 << 20)
                    held[::4096] = b"x" * len(held[::4096])
                    time.sleep(600)
                os._exit(0)
            os.wait()

    def memfd(self) -> None:
        self.held = os.memfd_create("held")
        for _ in range(40):
            os.write(self.held, PIECE)

    def shared_memory(self) -> None:
        """As much as /dev/shm takes, beside a heap that is small enough by itself."""
        heap = [bytearray(PIECE) for _ in range(16)]
        with open("/dev/shm/held", "wb") as held:  # noqa: PTH123, S108 - its own
            for _ in range(24):
                held.write(PIECE)
        time.sleep(600)
        del heap

"""A model that misbehaves on demand, in every way that an instance must survive or be replaced for."""

import ctypes
import mmap
import os
import signal
import subprocess
import time
from pathlib import Path

from cog import BasePredictor

GIB = 1024**3


class Predictor(BasePredictor):
    def setup(self) -> None:
        print("set up")

    def predict(self, do: str = "echo", text: str = "", seconds: float = 0.0) -> str:
        return getattr(self, do)(text, seconds)

    def echo(self, text, seconds):
        return text

    def nap(self, text, seconds):
        time.sleep(seconds)
        return text

    def fail(self, text, seconds):
        raise ValueError(text)

    def hang(self, text, seconds):
        """In C, with the interpreter's lock held: nothing of Python's can run any more, and no signal wakes it."""
        library, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
        library.pthread_mutex_lock(mutex)
        library.pthread_mutex_lock(mutex)
        return text

    def segfault(self, text, seconds):
        ctypes.string_at(0)

    def leave(self, text, seconds):
        os._exit(3)

    def killed(self, text, seconds):
        """As the kernel's killer does it."""
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)

    def memory(self, text, seconds):
        """More than its hardware has, asked for at once: the allocation fails."""
        return str(len(bytearray(5 * GIB)))

    def hungry(self, text, seconds):
        """More than its hardware has, taken in a way that no limit of the process counts."""
        held = mmap.mmap(-1, 3 * GIB)
        for start in range(0, 3 * GIB, 1 << 20):
            held[start : start + (1 << 20)] = b"x" * (1 << 20)
        time.sleep(600)

    def litter(self, text, seconds):
        """Files beside the model and in its /tmp, and a process that nobody waits for."""
        for place in (".", os.environ["TMPDIR"]):
            Path(place, f"left-{text}").write_bytes(bytes(4096))
        subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
        return text

"""Runs the supervisor in the background. The caller shows its progress and returns when it is ready or has failed.

The child process gets its own session and a pipe. The last line on the pipe is the outcome, READY or FAILED.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

READY = "\x04ready"
FAILED = "\x04failed"


class ReportPipe:
    """The child's end of the pipe. After the caller has ended, lines are dropped: the supervisor has its own log."""

    def __init__(self, descriptor: int) -> None:
        self._pipe = os.fdopen(descriptor, "w", buffering=1)

    def show(self, text: str) -> None:
        if self._pipe.closed:
            return
        try:
            self._pipe.write(text + "\n")
        except BrokenPipeError:
            with suppress(BrokenPipeError):
                self._pipe.close()

    def finish(self, outcome: str) -> None:
        self.show(outcome)
        with suppress(BrokenPipeError):
            self._pipe.close()


def start(arguments: Sequence[str], log: Path, show: Callable[[str], None]) -> int:
    """Start the supervisor and return the exit status for the caller. A Ctrl-C meanwhile stops the supervisor."""
    reading, writing = os.pipe()
    with log.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "tidemill.stack", "up", *arguments, "--report-fd", str(writing)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(writing,),
            start_new_session=True,
        )
    os.close(writing)
    with os.fdopen(reading, errors="replace") as lines:
        try:
            return _relay(lines, child, log, show)
        except KeyboardInterrupt:
            child.send_signal(signal.SIGTERM)
            _relay(lines, child, log, show)
            return 130


def _relay(lines: Iterable[str], child: subprocess.Popen[bytes], log: Path, show: Callable[[str], None]) -> int:
    for line in lines:
        text = line.rstrip("\n")
        if text == READY:
            return 0
        if text == FAILED:
            child.wait()
            show(f"the log of this is {log}")
            return 1
        show(text)
    status = child.wait()
    if status == 0:  # another supervisor had taken the lock
        show("another `up` was quicker; `status` tells how far it is")
        return 0
    show(f"the supervisor ended with status {status}; its log is {log}")
    return 1

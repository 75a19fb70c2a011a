"""A whole Tidemill for tests: `up` in a folder of its own, its processes by name, and a client for its API."""

import asyncio
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import aiohttp

from tidemill.stack.home import snapshot
from tidemill.testing.ports import OwnPort

UP_WITHIN_S: Final = 600.0
POLL_S: Final = 0.05


class RunningStack:
    """Started with `python -m tidemill.stack up --detach`; `env` is what its env file says."""

    def __init__(self, home: Path, settings: dict[str, str] | None = None) -> None:
        self.home = home
        self.env: dict[str, str] = {}
        self.settings = settings or {}
        self._port = OwnPort()

    def up(self, *arguments: str) -> None:
        done = self._command("up", "--detach", "--port", str(self._port.number), *arguments)
        assert done.returncode == 0, f"up failed:\n{done.stdout}\n{done.stderr}"
        for line in (self.home / "env").read_text().splitlines():
            words = shlex.split(line)
            if len(words) == 2 and words[0] == "export" and not words[1].startswith("PATH="):
                name, _, value = words[1].partition("=")
                self.env[name] = value

    def down(self) -> None:
        self._command("down")

    def _command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        env = {**os.environ, **self.settings, "TIDEMILL_HOME": str(self.home)}
        command = [sys.executable, "-m", "tidemill.stack", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=UP_WITHIN_S, check=False)

    @property
    def base_url(self) -> str:
        return self.env["REPLICATE_BASE_URL"]

    @property
    def token(self) -> str:
        return self.env["REPLICATE_API_TOKEN"]

    def pid(self, name: str) -> int:
        """Of a server or service, as the supervisor last wrote it."""
        pid = self.pid_or_none(name)
        assert pid is not None, f"{name} is not running"
        return pid

    def pid_or_none(self, name: str) -> int | None:
        current = snapshot.read(self.home / "run.json")
        return next((part.pid for part in current.parts if part.name == name), None) if current else None

    def signal(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    def tidemill(self, *arguments: str, token: str | None = None) -> str:
        """Runs the `tidemill` command; its standard output."""
        env = {**os.environ, **self.env}
        if token:
            env["REPLICATE_API_TOKEN"] = token
        command = [str(Path(sys.executable).with_name("tidemill")), *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=UP_WITHIN_S, check=False)
        assert done.returncode == 0, f"tidemill {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(base_url=self.base_url, headers={"Authorization": f"Bearer {self.token}"})


async def until(what: str, check: Callable[[], Any], *, within_s: float = 180.0) -> Any:
    """Polls `check` (a function or coroutine function) until its answer is true; that answer."""
    deadline = time.monotonic() + within_s
    while True:
        answer = check()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return answer
        assert time.monotonic() < deadline, f"waited {within_s} s in vain for: {what}"
        await asyncio.sleep(POLL_S)

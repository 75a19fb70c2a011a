"""100,000 requests of all kinds against a gateway with everything real behind it: `./just fuzz [--requests N]`.

Passes when nothing is answered with 500 or more, and the gateway's memory has grown by less than 64 MiB.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import psutil
import requests

from tidemill.testing.fuzz import Report, fuzz
from tidemill.testing.running import RunningStack
from tidemill.testing.world import World, push_models, world

GROWTH_LIMIT_MIB = 64
WARM_AFTER = 5_000  # requests: until then caches fill, and what is imported late is
SAY_EVERY = 10_000


class Memory:
    """Of one process, in MiB: when it was warm, and at most since."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.warm: float | None = None
        self.most = 0.0
        self._said = 0

    def now(self) -> float:
        return self._process.memory_info().rss / 2**20

    def look(self, report: Report) -> None:
        if self.warm is None and report.sent >= WARM_AFTER:
            self.warm = self.now()
        self.most = max(self.most, self.now())
        if report.sent - self._said >= SAY_EVERY:
            self._said = report.sent
            print(f"{report.sent:>9,} requests, gateway {self.now():.0f} MiB, {len(report.bad)} bad", flush=True)

    @property
    def growth(self) -> float:
        return self.most - (self.warm if self.warm is not None else self.most)


def make_world(stack: RunningStack) -> World:
    stack.tidemill("account", "create", "--unlimited", "fuzz")
    stack.tidemill("account", "create", "friend")
    token = stack.tidemill("token", "create", "--print", "fuzz").strip()
    models = push_models(stack, "fuzz", token)
    stack.tidemill("collection", "set", "first", "--name", "First", "--description", "One", models.text)
    return asyncio.run(world(stack.base_url, token, models, friend="friend", collection="first"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemill-fuzz.") as directory:
        stack = RunningStack(Path(directory) / "home", {"TIDEMILL_EGRESS_ALLOW": "127.0.0.1/32"})
        try:
            stack.up("--no-catalogue")
            made = make_world(stack)
            document = requests.get(f"{stack.base_url}/openapi.json", timeout=10).json()
            memory = Memory(stack.pid("gateway"))
            started = time.monotonic()
            report = fuzz(made, document, arguments.requests, seen=memory.look)
            seconds = time.monotonic() - started
        finally:
            stack.down()
    print(f"{report.sent:,} requests in {seconds:.0f} s: {dict(sorted(report.statuses.items()))}")
    print(f"gateway: {memory.warm or 0:.0f} MiB warm, {memory.most:.0f} MiB at most, grown by {memory.growth:.1f} MiB")
    for bad in report.bad:
        print(bad)
    return 1 if report.bad or memory.growth >= GROWTH_LIMIT_MIB else 0


if __name__ == "__main__":
    sys.exit(main())

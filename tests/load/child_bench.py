"""Prints what a prediction costs between the worker and a child, and how long a fork takes to its first inference.

Run it as `python tests/load/child_bench.py`; CPU figures are the ones to trust on a shared machine.
"""

import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from tidemill.model.host.child_events import ChildExit
from tidemill.model.host.child_process import ChildProcess
from tidemill.model.host.runtime_path import make_runtime_path
from tidemill.model.host.zygote_process import ZygoteProcess
from tidemill.model.sandbox.settings import Sandbox
from tidemill.model.wire.spec import BootFrame, ChildSpec

MODELS = Path(__file__).parent.parent / "models"
PREDICTIONS = 20_000
FORKS = 20
UID = 210_000 if os.geteuid() == 0 else None


class Counter:
    """Answers of one child: how many, and a future for the next milestone."""

    def __init__(self) -> None:
        self.done = 0
        self.calls = 0  # of a model that batches
        self.goal = 0
        self.reached: asyncio.Future[None] | None = None
        self.ready: asyncio.Future[dict] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.refill = lambda answered: None

    def on_frames(self, bodies: list[bytes], files: deque[int]) -> None:
        answered = 0
        for body in bodies:
            if body.startswith(b'{"t":"done"'):
                answered += 1
            elif body.startswith(b'{"t":"ready"'):
                self.ready.set_result(json.loads(body))
            elif body.startswith(b'{"t":"running"'):
                self.calls += 1
            else:
                raise ValueError(body)
        self.done += answered
        self.refill(answered)
        if self.reached is not None and self.done >= self.goal and not self.reached.done():
            self.reached.set_result(None)

    def on_text(self, ids: Sequence[str] | None, text: str) -> None:
        sys.stderr.write(text)

    def on_log_bytes(self, data: bytes) -> None:
        sys.stderr.write(data.decode())

    def on_exit(self, ended: ChildExit) -> None:
        self.ended.set_result(None)

    async def until(self, goal: int) -> None:
        self.goal, self.reached = goal, asyncio.get_running_loop().create_future()
        if self.done < goal:
            await self.reached


async def boot(zygote: ZygoteProcess, model: str, tmp: Path, number: int = 0) -> tuple[ChildProcess, Counter]:
    """`model` is a directory, or "directory:Name" for another entry than its Predictor."""
    model, _, name = model.partition(":")
    directory = str(MODELS / model)
    own = tmp / f"{model}-{number}"
    own.mkdir()
    counter = Counter()
    sandbox = Sandbox(tmp=str(own), read=(directory,), uid=None if UID is None else UID + number)
    spec = ChildSpec(sandbox, threads=1)
    child = await zygote.fork(spec, BootFrame(f"predict.py:{name or 'Predictor'}", directory, str(own)), counter)
    return child, counter


def child_cpu_s(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


async def measure_predictions(
    zygote: ZygoteProcess, tmp: Path, ahead: int, number: int, model: str = "proc_noop"
) -> None:
    child, counter = await boot(zygote, model, tmp, number)
    await counter.ready
    body = b'{"t":"run","id":"%d","input":{"text":"hello"},"context":{}}'
    sent = 0

    def send(count: int) -> None:
        nonlocal sent
        for _ in range(min(count, PREDICTIONS - sent)):
            child.send(body % sent)
            sent += 1

    counter.refill = send
    before = time.perf_counter(), time.process_time(), child_cpu_s(child.pid)
    send(ahead)
    await counter.until(PREDICTIONS)
    after = time.perf_counter(), time.process_time(), child_cpu_s(child.pid)
    wall, ours, theirs = ((b - a) / PREDICTIONS * 1e6 for a, b in zip(before, after, strict=True))
    calls = f"   {PREDICTIONS / counter.calls:5.1f} a call" if counter.calls else ""
    costs = f"host {ours:5.1f} us   child {theirs:5.1f} us   wall {wall:5.1f} us{calls}"
    print(f"{model.partition(':')[0]:10} {ahead:3} ahead: {1e6 / wall:8.0f}/s   {costs}")
    child.stop()
    await counter.ended


async def measure_forks(zygote: ZygoteProcess, tmp: Path) -> None:
    rows: dict[str, list[float]] = {}
    for number in range(FORKS):
        started = time.perf_counter()
        child, counter = await boot(zygote, "proc_torch", tmp, 100 + number)
        phases = (await counter.ready)["phases"]
        ready = time.perf_counter()
        child.send(b'{"t":"run","id":"x","input":{},"context":{}}')
        await counter.until(1)
        first = time.perf_counter()
        child.stop()
        await counter.ended
        took = {"fork to ready": (ready - started) * 1000, "fork to inference": (first - started) * 1000}
        for name, value in {**took, **{f"  of it {key}": ms for key, ms in phases.items()}}.items():
            rows.setdefault(name, []).append(value)
    for name, values in rows.items():
        print(f"{name:20} p50 {statistics.median(values):6.2f} ms   max {max(values):6.2f} ms")


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        tmp = Path(directory)
        tmp.chmod(0o755)
        path = make_runtime_path(tmp / "runtime")
        environment = {"PYTHONPATH": path, "PATH": os.environ["PATH"], "OPENBLAS_NUM_THREADS": "1"}
        started = time.perf_counter()
        zygote = await ZygoteProcess.start(sys.executable, preload=["torch", "numpy"], env=environment)
        print(f"zygote ready in {time.perf_counter() - started:.2f} s {zygote.modules} {zygote.failed_modules}")
        for number, ahead in enumerate((1, 8, 32, 128)):
            await measure_predictions(zygote, tmp, ahead, number)
        for number, ahead in enumerate((1, 32, 128)):
            await measure_predictions(zygote, tmp, ahead, 10 + number, "proc_batch:at_hand")
        await measure_forks(zygote, tmp)
        await zygote.close()
        shutil.rmtree(tmp / "runtime")


if __name__ == "__main__":
    if "--uvloop" in sys.argv:
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())

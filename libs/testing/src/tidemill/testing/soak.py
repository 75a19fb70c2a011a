"""Predictions that crash, hang in C, run out of memory and are canceled, many at a time, and what they leave behind.

The same seed asks for the same things. It creates and counts; what is too much is the caller's to say.
"""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import asyncpg
import msgspec
import nats
import psutil

from tidemill.contracts import subjects
from tidemill.testing.running import RunningStack, until

MODEL: Final = "local/soak"
# So that hung children are killed soon, and instances stop when all is over.
SETTINGS: Final = {"TIDEMILL_KILL_AFTER_S": "0.5", "TIDEMILL_IDLE_STOP_S": "3", "TIDEMILL_MIN_RESIDENT_S": "0.5"}
LOOK_EVERY_S: Final = 0.1
HEARD_WITHIN_S: Final = 120.0
TRIES: Final = 50  # of one request: a gateway under load may ask to come again
OPEN: Final = "SELECT id FROM prediction WHERE id = ANY ($1) AND completed_at IS NOT NULL"
ROWS: Final = "SELECT id, status, attempt, output, error, error_code FROM prediction WHERE id = ANY ($1)"
LEASES: Final = "SELECT count(*) FROM worker WHERE lease_until > now()"
LEFT_OPEN: Final = "SELECT count(*) FROM prediction WHERE status IN ('starting', 'processing')"


class Kind(NamedTuple):
    """What a prediction does, how often in a thousand, and the ends it may have unless it is canceled."""

    do: str
    share: int
    ends: frozenset[tuple[str, str | None]]


def _failed(*codes: str) -> frozenset[tuple[str, str | None]]:
    return frozenset(("failed", code) for code in codes)


_WELL: Final[frozenset[tuple[str, str | None]]] = frozenset({("succeeded", None)})
KINDS: Final = (
    Kind("nap", 60, _WELL),
    Kind("litter", 20, _WELL),
    Kind("fail", 30, _failed("model_error")),
    Kind("hang", 40, frozenset()),  # always canceled
    Kind("segfault", 25, _failed("model_crashed")),
    Kind("leave", 25, _failed("model_crashed")),
    Kind("killed", 20, _failed("model_crashed", "out_of_memory")),
    Kind("memory", 10, _failed("out_of_memory")),
    Kind("hungry", 1, _failed("out_of_memory")),
    Kind("echo", 769, _WELL),
)
_BY_NAME: Final = {kind.do: kind for kind in KINDS}
CANCELED_SHARE: Final = 0.05  # of what does not hang


class Asked(msgspec.Struct):
    do: str
    text: str
    cancel_after_s: float | None
    id: str = ""


class Leftovers(msgspec.Struct, frozen=True):
    """What there is of things that must not pile up."""

    processes: list[str]  # below the worker, but for its zygotes
    folders: list[str]  # of instances and inspections
    descriptors: int  # of the worker
    memory_mib: float  # of the worker
    leases: int
    open_predictions: int


class Soak:
    def __init__(self, stack: RunningStack, *, count: int, at_once: int, seed: int) -> None:
        self._stack = stack
        self._at_once = at_once
        self._random = random.Random(seed)
        self.asked = [self._ask(number) for number in range(count)]
        self.heard: dict[str, set[str]] = {}
        self._by_id: dict[str, Asked] = {}
        self._open: dict[str, asyncio.Event] = {}

    def _ask(self, number: int) -> Asked:
        do = self._random.choices([kind.do for kind in KINDS], [kind.share for kind in KINDS])[0]
        canceled = do == "hang" or self._random.random() < CANCELED_SHARE
        return Asked(
            do, f"{number}-{self._random.getrandbits(32):x}", self._random.uniform(0, 0.4) if canceled else None
        )

    async def run(self, within_s: float) -> None:
        """Creates all of them, and returns when each has ended. Raises TimeoutError."""
        async with asyncio.timeout(within_s), self._stack.session() as session:
            client = await nats.connect(self._stack.env["TIDEMILL_NATS_URL"])
            await client.subscribe(subjects.prediction("*", "completed", "*", "prediction"), cb=self._hear)
            looking = asyncio.create_task(self._look(), name="look")
            try:
                gate = asyncio.Semaphore(self._at_once)
                await asyncio.gather(*(self._live(session, gate, asked) for asked in self.asked))
                await self._all_heard()
            finally:
                looking.cancel()
                await client.close()

    async def _all_heard(self) -> None:
        """An end is announced a moment after it is stored; what never is shows among the faults."""
        with contextlib.suppress(AssertionError):
            await until("all are heard of", lambda: self._by_id.keys() <= self.heard.keys(), within_s=HEARD_WITHIN_S)

    async def _hear(self, message: Any) -> None:
        event = json.loads(message.data)
        self.heard.setdefault(event["id"], set()).add(event["status"])

    async def _live(self, session: aiohttp.ClientSession, gate: asyncio.Semaphore, asked: Asked) -> None:
        async with gate:
            body = {"version": MODEL, "input": {"do": asked.do, "text": asked.text, "seconds": 0.2}}
            asked.id = (await self._post(session, "/v1/predictions", body))["id"]
            self._by_id[asked.id] = asked
            over = self._open[asked.id] = asyncio.Event()
            if asked.cancel_after_s is not None:
                await asyncio.sleep(asked.cancel_after_s)
                await self._post(session, f"/v1/predictions/{asked.id}/cancel", {})
            await over.wait()

    async def _post(self, session: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> Any:
        for _ in range(TRIES):
            async with session.post(path, json=body) as response:
                if response.status < 300:
                    return await response.json()
                refusal = await response.text()
            await asyncio.sleep(0.2)
        raise AssertionError(f"{path} was refused: {refusal}")

    async def _look(self) -> None:
        connection = await asyncpg.connect(self._stack.env["TIDEMILL_DATABASE_URL"])
        try:
            while True:
                for row in await connection.fetch(OPEN, list(self._open)):
                    self._open.pop(row["id"]).set()
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            await connection.close()

    async def faults(self) -> list[str]:
        """Predictions that did not end as they must; each once, by their rows and by what was announced."""
        connection = await asyncpg.connect(self._stack.env["TIDEMILL_DATABASE_URL"])
        try:
            rows = {row["id"]: row for row in await connection.fetch(ROWS, list(self._by_id))}
        finally:
            await connection.close()
        return [fault for asked in self.asked for fault in self._faults_of(asked, rows[asked.id])]

    def _faults_of(self, asked: Asked, row: Any) -> Iterator[str]:
        end = (row["status"], row["error_code"])
        allowed = _BY_NAME[asked.do].ends
        if row["status"] != "canceled" and end not in allowed:
            yield f"{asked.do} {asked.id} ended {end}: {row['error']}"
        if row["status"] == "canceled" and asked.cancel_after_s is None:
            yield f"{asked.do} {asked.id} was canceled by nobody"
        if row["status"] == "succeeded" and json.loads(row["output"]) != asked.text:
            yield f"{asked.do} {asked.id} got another's output"
        if self.heard.get(asked.id) != {row["status"]}:
            yield f"{asked.do} {asked.id} is {row['status']} and was announced as {self.heard.get(asked.id)}"

    async def ends(self) -> Counter[str]:
        connection = await asyncpg.connect(self._stack.env["TIDEMILL_DATABASE_URL"])
        try:
            rows = await connection.fetch(ROWS, list(self._by_id))
        finally:
            await connection.close()
        return Counter(" ".join(filter(None, (row["status"], row["error_code"]))) for row in rows)


def boots(stack: RunningStack) -> int:
    """Instances that have become ready since the stack was started."""
    log = stack.home / "log" / "worker.log"
    return sum('"instance ready"' in line for line in log.read_text(errors="replace").splitlines())


async def leftovers(stack: RunningStack) -> Leftovers:
    worker = psutil.Process(stack.pid("worker"))
    connection = await asyncpg.connect(stack.env["TIDEMILL_DATABASE_URL"])
    try:
        leases, open_predictions = await connection.fetchval(LEASES), await connection.fetchval(LEFT_OPEN)
    finally:
        await connection.close()
    return Leftovers(
        processes=sorted(_strangers(worker)),
        folders=sorted(str(path) for path in _folders(stack.home)),
        descriptors=worker.num_fds(),
        memory_mib=round(worker.memory_info().rss / 2**20, 1),
        leases=leases,
        open_predictions=open_predictions,
    )


def _strangers(worker: psutil.Process) -> Iterator[str]:
    for each in worker.children(recursive=True):
        try:
            parent, status, command = each.ppid(), each.status(), " ".join(each.cmdline())
        except psutil.NoSuchProcess:
            continue
        if status != psutil.STATUS_ZOMBIE and not (parent == worker.pid and "tidemill.model.process.zygote" in command):
            yield f"{each.pid} {command}"


def _folders(home: Path) -> Iterator[Path]:
    for name in ("instances", "inspections"):
        yield from home.glob(f"worker/{name}/*")

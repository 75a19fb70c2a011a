"""Predictions in flight while something is killed, and the check of what became of them."""

import asyncio
import json
import random

import aiohttp
import asyncpg
import nats

from tidemill.testing.running import RunningStack, until

MODEL = "local/chaos-echo"


class Crowd:
    """Creates predictions with distinct inputs and remembers each one that was accepted (a 201 came)."""

    def __init__(self, stack: RunningStack, seed: int = 1):
        self.stack = stack
        self.accepted: dict[str, str] = {}
        self._random = random.Random(seed)

    async def create(self, count: int, *, at_once: int = 50, longest_s: float = 0.3) -> None:
        gate = asyncio.Semaphore(at_once)
        async with self.stack.session() as session:
            await asyncio.gather(*(self._one(session, gate, number, longest_s) for number in range(count)))

    async def _one(self, session, gate, number, longest_s) -> None:
        text = f"{number}-{self._random.getrandbits(64):x}"
        seconds = self._random.choice([0, 0, self._random.uniform(0, longest_s)])
        body = {"version": MODEL, "input": {"text": text, "seconds": seconds}}
        async with gate:
            for _ in range(600):
                try:
                    async with session.post("/v1/predictions", json=body) as response:
                        if response.status == 201:
                            self.accepted[(await response.json())["id"]] = text
                            return
                        # What is away is told so, with when to come again: it is nobody's mistake.
                        assert response.status == 503, await response.text()
                        assert "Retry-After" in response.headers
                except aiohttp.ClientError:
                    pass  # not accepted as far as this client knows: it asks again, as a new prediction
                await asyncio.sleep(0.05)
        raise AssertionError("the gateway did not come back")

    async def rows(self) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.stack.env["TIDEMILL_DATABASE_URL"])
        try:
            return await connection.fetch(
                "SELECT id, status, attempt, output, error, error_code, completed_at FROM prediction"
                " WHERE id = ANY($1) ORDER BY id",
                list(self.accepted),
            )
        finally:
            await connection.close()

    async def ended(self) -> bool:
        try:
            rows = await self.rows()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return all(row["completed_at"] for row in rows)

    async def settle(self, within_s: float = 90) -> list[asyncpg.Record]:
        await until("every accepted prediction ends", self.ended, within_s=within_s)
        return await self.rows()

    def check(self, rows, *, may_fail: set[str] = frozenset()) -> None:
        """None is lost, each has ended, no answer is another's."""
        assert len(rows) == len(self.accepted)
        for row in rows:
            if row["status"] == "succeeded":
                assert json.loads(row["output"]) == self.accepted[row["id"]]
            else:
                assert row["status"] == "failed", dict(row)
                assert row["error_code"] in may_fail, dict(row)


class Witness:
    """Hears every terminal event on the bus, as an outside subscriber would."""

    def __init__(self, stack: RunningStack):
        self._stack = stack
        self.heard: dict[str, list[str]] = {}

    async def __aenter__(self):
        self._client = await nats.connect(
            self._stack.env["TIDEMILL_NATS_URL"], max_reconnect_attempts=-1, reconnect_time_wait=0.1
        )
        await self._client.subscribe("prediction.*.completed.*", cb=self._hear)
        return self

    async def _hear(self, message) -> None:
        event = json.loads(message.data)
        self.heard.setdefault(event["id"], []).append(event["status"])

    async def __aexit__(self, *_):
        await self._client.close()

    def check(self) -> None:
        """An announcement may come twice, never with another end."""
        assert not {key: ends for key, ends in self.heard.items() if len(set(ends)) > 1}

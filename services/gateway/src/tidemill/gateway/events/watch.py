"""Ends the connections of outside subscribers whose token was revoked, has expired, or may read something else now.

NATS asks once, at connect; so the gateway looks again. Every gateway does: ending a connection twice harms nobody.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final, NamedTuple

import msgspec
import nats
from prometheus_client import Gauge

from tidemill.contracts import subjects
from tidemill.contracts.access import granted
from tidemill.gateway import stores
from tidemill.gateway.events.rights import label, readable, token_of
from tidemill.runtime.bus import Bus
from tidemill.runtime.db import AWAY, Database
from tidemill.runtime.telemetry import log

PAGE: Final = 1024  # connections in one answer; the server's own limit
ANSWERS_WITHIN_S: Final = 1.0  # for all servers of a cluster
CONNECTIONS: Final = Gauge("tidemill_event_connections", "Outside subscribers connected, as last seen")


class _Connection(msgspec.Struct, frozen=True):
    cid: int
    authorized_user: str = ""


class _Page(msgspec.Struct, frozen=True):
    server_id: str
    total: int = 0
    connections: list[_Connection] = []


class _Answer(msgspec.Struct, frozen=True):
    data: _Page | None = None


class _Kick(msgspec.Struct, frozen=True):
    cid: int


class Connected(NamedTuple):
    server: str
    cid: int
    label: str


class Watch:
    def __init__(self, bus: Bus, database: Database, every_s: float) -> None:
        self._bus = bus
        self._database = database
        self._every_s = every_s

    async def run(self) -> None:
        """Named task."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.look()
            except (nats.errors.Error, *AWAY) as error:
                log().warning("cannot look", action="retry", error=str(error) or type(error).__name__)

    async def look(self) -> None:
        connected = [each async for each in self._connected()]
        CONNECTIONS.set(len(connected))
        tokens = {token_of(each.label) for each in connected}
        if not tokens:
            return
        rows = await stores.events.standing(self._database, tokens)
        due = {row["id"]: label(row["id"], readable(granted(row["scopes"], row["role"] or "owner"))) for row in rows}
        for each in outdated(connected, due):
            log().info("connection ended", action="revoke", token_id=token_of(each.label))
            await self._bus.ask(subjects.kick(each.server), _Kick(each.cid), _Answer, timeout_s=ANSWERS_WITHIN_S)

    async def _connected(self) -> AsyncIterator[Connected]:
        offset, most = 0, 1
        while offset < most:
            asked = msgspec.json.encode({"auth": True, "limit": PAGE, "offset": offset})
            answers = await self._bus.ask_all(subjects.CONNECTIONS, asked, within_s=ANSWERS_WITHIN_S)
            pages = [page for page in map(_page, answers) if page is not None]
            for page in pages:
                for connection in page.connections:
                    yield Connected(page.server_id, connection.cid, connection.authorized_user)
            offset, most = offset + PAGE, max((page.total for page in pages), default=0)


def _page(answer: bytes) -> _Page | None:
    return msgspec.json.decode(answer, type=_Answer).data


def outdated(connected: list[Connected], due: Mapping[str, str]) -> list[Connected]:
    """Those whose label is not the one that their token would get now. Pure."""
    return [each for each in connected if due.get(token_of(each.label)) != each.label]

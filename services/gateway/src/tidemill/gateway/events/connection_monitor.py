"""Closes connections of external subscribers whose token was revoked, has expired or now has other scopes, and those
above the limit of their account.

NATS authenticates only at connect, so the gateway checks again. Every gateway does: closing a connection twice is
harmless.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec
import nats
from prometheus_client import Gauge

from tidemill.contracts import subjects
from tidemill.contracts.access import granted_scopes
from tidemill.gateway import stores
from tidemill.gateway.events.external_subscribers import (
    ANSWERS_WITHIN_S,
    ExternalConnection,
    ExternalSubscribers,
    over_limit,
)
from tidemill.gateway.events.permissions import label, readable_kinds, token_of
from tidemill.runtime.bus import Bus
from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.telemetry import log

CONNECTIONS: Final = Gauge("tidemill_event_connections", "Outside subscribers connected, as last seen")


class _KickRequest(msgspec.Struct, frozen=True):
    cid: int


class _KickReply(msgspec.Struct, frozen=True):
    """The server's reply; its content does not matter."""


class ConnectionMonitor:
    def __init__(self, bus: Bus, database: Database, subscribers: ExternalSubscribers, every_s: float) -> None:
        self._bus = bus
        self._subscribers = subscribers
        self._database = database
        self._every_s = every_s

    async def run(self) -> None:
        """Named task."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.check()
            except (nats.errors.Error, *TRANSIENT_ERRORS) as error:
                log().warning("connections not checked", action="retry", error=str(error) or type(error).__name__)

    async def check(self) -> None:
        connected = await self._subscribers.refresh()
        CONNECTIONS.set(len(connected))
        tokens = {token_of(each.label) for each in connected}
        if not tokens:
            return
        rows = await stores.tokens.list_valid(self._database, tokens)
        due = {
            row["id"]: label(row["id"], readable_kinds(granted_scopes(row["scopes"], row["role"] or "owner")))
            for row in rows
        }
        gone = with_outdated_label(connected, due)
        for each in gone:
            log().info("connection closed", action="revoke", token_id=token_of(each.label))
        staying = [each for each in connected if each not in gone]
        over = over_limit(staying, self._subscribers.counts.limit)
        for each in over:
            log().warning("connection above the limit closed", action="revoke", account=each.account)
        for each in (*gone, *over):
            await self._bus.ask(
                subjects.kick(each.server), _KickRequest(each.cid), _KickReply, timeout_s=ANSWERS_WITHIN_S
            )


def with_outdated_label(connected: list[ExternalConnection], due: Mapping[str, str]) -> list[ExternalConnection]:
    """Return the connections whose label differs from the one that their token would get now. Pure."""
    return [each for each in connected if due.get(token_of(each.label)) != each.label]

"""Which external subscribers are connected, by the NATS servers' list, and how many connections an account may have.

The servers are asked every few seconds; in between, each gateway counts whom any gateway has admitted. When an account
is at its limit, the servers are asked at once, so that an ended connection makes room for the next.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from tidemill.contracts import subjects
from tidemill.contracts.events import SubscriberAdmitted
from tidemill.runtime.bus import Bus
from tidemill.runtime.clock import monotonic

PAGE: Final = 1024  # connections in one reply; the server's own limit
ANSWERS_WITHIN_S: Final = 1.0  # for all servers of a cluster
# Within this an admitted connection appears in the servers' list. One that does not has ended or never came.
LISTED_AFTER_S: Final = 5.0
FULL_FOR_S: Final = 1.0  # for an account at its limit the servers are not asked again sooner
KEY_CHARS: Final = 16
SEPARATOR: Final = "|"


class ExternalConnection(NamedTuple):
    """`label`: the token's id and the kinds it may read; `key`: unique for each connection; `start`: RFC 3339."""

    server: str
    cid: int
    label: str
    account: str = ""
    key: str = ""
    start: str = ""


class _ConnzConnection(msgspec.Struct, frozen=True):
    cid: int
    authorized_user: str = ""
    start: str = ""


class _ConnzPage(msgspec.Struct, frozen=True):
    server_id: str
    total: int = 0
    connections: list[_ConnzConnection] = []


class _ConnzReply(msgspec.Struct, frozen=True):
    data: _ConnzPage | None = None


def key_of(user: str) -> str:
    """Return the part of a connection's public key that identifies it."""
    return user[-KEY_CHARS:]


def name(label: str, account: str, key: str) -> str:
    """Return the name of a connection at the server."""
    return SEPARATOR.join((label, account, key))


async def connected(bus: Bus) -> list[ExternalConnection]:
    """Return all external subscribers. Raise nats.errors.Error when NATS cannot be reached."""
    return [each async for each in _pages(bus)]


async def _pages(bus: Bus) -> AsyncIterator[ExternalConnection]:
    offset, most = 0, 1
    while offset < most:
        asked = msgspec.json.encode({"auth": True, "limit": PAGE, "offset": offset})
        answers = await bus.ask_all(subjects.CONNECTIONS, asked, within_s=ANSWERS_WITHIN_S)
        pages = [page for page in (msgspec.json.decode(each, type=_ConnzReply).data for each in answers) if page]
        for page in pages:
            for each in page.connections:
                label, account, key = (*each.authorized_user.split(SEPARATOR), "", "")[:3]
                yield ExternalConnection(page.server_id, each.cid, label, account, key, each.start)
        offset, most = offset + PAGE, max((page.total for page in pages), default=0)


class ConnectionCounts:
    """The connections of accounts, including those admitted a moment ago. Pure; times are of one monotonic clock."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._seen: dict[str, set[str]] = {}  # keys by account, in the servers' last list
        self._admitted: dict[str, tuple[str, float]] = {}  # since then: account and moment by key

    def of(self, account: str) -> int:
        seen = self._seen.get(account, set())
        return len(seen) + sum(each == account and key not in seen for key, (each, _) in self._admitted.items())

    def admit(self, account: str, key: str, now: float) -> None:
        self._admitted[key] = (account, now)

    def apply(self, found: Iterable[ExternalConnection], asked_at: float) -> None:
        """Apply the servers' list, requested at `asked_at`."""
        self._seen = {}
        for each in found:
            self._seen.setdefault(each.account, set()).add(each.key)
            self._admitted.pop(each.key, None)
        self._admitted = {
            key: (account, at)
            for key, (account, at) in self._admitted.items()
            if at > asked_at - LISTED_AFTER_S and key not in self._seen.get(account, ())
        }


def over_limit(found: Sequence[ExternalConnection], limit: int) -> list[ExternalConnection]:
    """Return the youngest connections of accounts above the limit: gateways may admit at the same moment. Pure."""
    had: Counter[str] = Counter()
    over = []
    for each in sorted(found, key=lambda each: (each.start[:19], each.server, each.cid)):
        had[each.account] += 1
        if each.account and had[each.account] > limit:
            over.append(each)
    return over


class ExternalSubscribers:
    """Admits connections up to the limit of each account, together with the other gateways."""

    def __init__(self, bus: Bus, limit: int) -> None:
        self._bus = bus
        self.counts = ConnectionCounts(limit)
        self._full: dict[str, float] = {}
        self._refreshing = asyncio.Lock()

    async def refresh(self) -> list[ExternalConnection]:
        """Ask the servers for all connections. Raise nats.errors.Error when NATS cannot be reached."""
        asked_at = monotonic()
        found = await connected(self._bus)
        self.counts.apply(found, asked_at)
        return found

    async def has_room(self, account: str) -> bool:
        """Whether the account may have one more. Asks the servers if it seems full, at most once a second."""
        if self.counts.of(account) < self.counts.limit:
            return True
        if self._full.get(account, 0.0) > monotonic():
            return False
        self._full = {each: until for each, until in self._full.items() if until > monotonic()}
        self._full[account] = float("inf")
        try:
            async with self._refreshing:
                await self.refresh()
        finally:
            self._full[account] = monotonic() + FULL_FOR_S
        return self.counts.of(account) < self.counts.limit

    async def admit(self, account: str, key: str) -> None:
        """Count the connection, here and at all other gateways."""
        self.counts.admit(account, key, monotonic())
        await self._bus.send(subjects.SUBSCRIBER_ADMITTED, SubscriberAdmitted(account=account, key=key))

    async def on_admitted(self, event: SubscriberAdmitted) -> None:
        self.counts.admit(event.account, event.key, monotonic())

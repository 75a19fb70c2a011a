"""Which outside subscribers are connected, as the NATS servers tell it, and how many an account may have.

Servers are asked every few seconds; between that, each gateway counts whom any gateway has let in. Whoever finds its
account full is looked for at once, so that a connection that has ended makes room for the next.
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

PAGE: Final = 1024  # connections in one answer; the server's own limit
ANSWERS_WITHIN_S: Final = 1.0  # for all servers of a cluster
# Until whoever was let in stands in the servers' answers; one that does not by then has gone, or never came.
ARRIVED_AFTER_S: Final = 5.0
FULL_FOR_S: Final = 1.0  # an account that was found full is not looked for again sooner
KEY_CHARS: Final = 16
SEPARATOR: Final = "|"


class ExternalConnection(NamedTuple):
    """`label` says whose token it is and what it was allowed; `key` tells connections apart, `start` is RFC 3339."""

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
    """Of the key that the server made for a connection."""
    return user[-KEY_CHARS:]


def name(label: str, account: str, key: str) -> str:
    """What the server knows a connection by."""
    return SEPARATOR.join((label, account, key))


async def connected(bus: Bus) -> list[ExternalConnection]:
    """All outside subscribers. Raises nats.errors.Error while NATS is away."""
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
    """The connections of accounts, those included that are about to be made. Pure; times are of one monotonic clock."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._seen: dict[str, set[str]] = {}  # keys by account, when the servers were last asked
        self._admitted: dict[str, tuple[str, float]] = {}  # since then: key to account and moment

    def of(self, account: str) -> int:
        seen = self._seen.get(account, set())
        return len(seen) + sum(each == account and key not in seen for key, (each, _) in self._admitted.items())

    def admit(self, account: str, key: str, now: float) -> None:
        self._admitted[key] = (account, now)

    def saw(self, found: Iterable[ExternalConnection], asked_at: float) -> None:
        """What the servers answered to a question of that moment."""
        self._seen = {}
        for each in found:
            self._seen.setdefault(each.account, set()).add(each.key)
            self._admitted.pop(each.key, None)
        self._admitted = {
            key: (account, at)
            for key, (account, at) in self._admitted.items()
            if at > asked_at - ARRIVED_AFTER_S and key not in self._seen.get(account, ())
        }


def over_limit(found: Sequence[ExternalConnection], limit: int) -> list[ExternalConnection]:
    """The youngest connections of accounts that have too many: several gateways may admit at one moment. Pure."""
    had: Counter[str] = Counter()
    over = []
    for each in sorted(found, key=lambda each: (each.start[:19], each.server, each.cid)):
        had[each.account] += 1
        if each.account and had[each.account] > limit:
            over.append(each)
    return over


class ExternalSubscribers:
    """Whether an account may have one more."""

    def __init__(self, bus: Bus, limit: int) -> None:
        self._bus = bus
        self.counts = ConnectionCounts(limit)
        self._full: dict[str, float] = {}
        self._looking = asyncio.Lock()

    async def look(self) -> list[ExternalConnection]:
        """Raises nats.errors.Error while NATS is away."""
        asked_at = monotonic()
        found = await connected(self._bus)
        self.counts.saw(found, asked_at)
        return found

    async def has_room(self, account: str) -> bool:
        """Ask the servers when the account seems full, and no more than once a second for one that is."""
        if self.counts.of(account) < self.counts.limit:
            return True
        if self._full.get(account, 0.0) > monotonic():
            return False
        self._full = {each: until for each, until in self._full.items() if until > monotonic()}
        self._full[account] = float("inf")
        try:
            async with self._looking:
                await self.look()
        finally:
            self._full[account] = monotonic() + FULL_FOR_S
        return self.counts.of(account) < self.counts.limit

    async def admit(self, account: str, key: str) -> None:
        """Tells all gateways."""
        self.counts.admit(account, key, monotonic())
        await self._bus.send(subjects.SUBSCRIBER_ADMITTED, SubscriberAdmitted(account=account, key=key))

    async def on_admitted(self, event: SubscriberAdmitted) -> None:
        self.counts.admit(event.account, event.key, monotonic())

"""Deployments as the scheduler knows them: how many instances each release's queue may and must have. Pure.

Times are seconds of one monotonic clock, handed in. What a deployment says replaces what it said before.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from tidemill.contracts.limits import HAND_OVER_LIMIT_S
from tidemill.scheduler.placement import QueuePolicy

# A gateway may send a prediction to the release before for as long as it remembers it; then nobody comes any more.
RETIRED_IDLE_S: Final = 15.0
STALE_AFTER_S: Final = 5.0  # for what time alone changes; making them costs 3 ms for a thousand deployments
FORGET_RETIRED_S: Final = 24 * 3600.0  # what still waits for a release then is served like any queue


class Release(NamedTuple):
    """`retired_at` is None for the current one."""

    queue: str
    number: int
    min_instances: int
    max_instances: int
    retired_at: float | None


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """`releases` from the newest; of a deleted deployment all are retired."""

    id: str
    changed_at: float  # unix seconds of the database
    releases: tuple[Release, ...]

    @property
    def current(self) -> Release | None:
        return next((each for each in self.releases if each.retired_at is None), None)

    @property
    def closed(self) -> bool:
        """It takes no predictions, and those under way are canceled."""
        return self.current is None or self.current.max_instances == 0


class Deployed:
    """All of them. Nothing may be planned before they are `known`: their floors would not be."""

    def __init__(self) -> None:
        self.known = False
        self.changed_at = 0.0
        self._deployments: dict[str, Deployment] = {}
        self._made: tuple[Collection[str], float, dict[str, QueuePolicy]] | None = None

    def read(self, changed: Iterable[Deployment]) -> None:
        for each in changed:
            self._deployments[each.id] = each
            self.changed_at = max(self.changed_at, each.changed_at)
            self._made = None
        self.known = True

    def closed_queues(self) -> frozenset[str]:
        return frozenset(
            release.queue for each in self._deployments.values() if each.closed for release in each.releases
        )

    def policies(self, ready: Collection[str], now: float) -> dict[str, QueuePolicy]:
        """`ready`: queues with an instance that takes predictions. The same dictionary until something changes."""
        if self._made is None or self._made[0] != ready or now - self._made[1] > STALE_AFTER_S:
            told = dict(pair for each in self._deployments.values() for pair in _policies(each, ready, now))
            self._made = (ready, now, told)
        return self._made[2]

    def forget(self, now: float) -> None:
        """What was deleted or replaced long ago."""
        self._made = None
        kept = ((each, _recent(each, now)) for each in self._deployments.values())
        self._deployments = {
            each.id: msgspec.structs.replace(each, releases=releases) for each, releases in kept if releases
        }


def _recent(deployment: Deployment, now: float) -> tuple[Release, ...]:
    return tuple(
        each for each in deployment.releases if each.retired_at is None or now - each.retired_at < FORGET_RETIRED_S
    )


def _policies(deployment: Deployment, ready: Collection[str], now: float) -> Iterator[tuple[str, QueuePolicy]]:
    current = deployment.current
    if current is None or deployment.closed:
        yield from ((each.queue, QueuePolicy(0, 0)) for each in deployment.releases)
        return
    yield current.queue, QueuePolicy(current.min_instances, current.max_instances)
    stand_in = _stand_in(deployment, current, ready, now)
    for each in deployment.releases:
        if each.retired_at is None:
            continue
        if each is stand_in:
            floor = min(max(1, each.min_instances), each.max_instances)
            yield each.queue, QueuePolicy(floor, each.max_instances, yields_to=current.queue)
        else:
            yield each.queue, QueuePolicy(0, each.max_instances, idle_stop_s=RETIRED_IDLE_S)


def _stand_in(deployment: Deployment, current: Release, ready: Collection[str], now: float) -> Release | None:
    """The release that goes on serving until the first instance of the current one is ready."""
    if current.min_instances == 0 or current.queue in ready:
        return None
    return next(
        (
            each
            for each in deployment.releases
            if each.retired_at is not None and now - each.retired_at < HAND_OVER_LIMIT_S and each.queue in ready
        ),
        None,
    )

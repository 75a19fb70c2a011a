"""How many instances the queue of each release must and may have, from the deployments' rows. Pure.

Times are seconds of one monotonic clock, passed in. A newly read deployment replaces what was known of it.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from tidemill.contracts.limits import HAND_OVER_LIMIT_S
from tidemill.scheduler.placement import QueuePolicy

# A gateway may send predictions to the previous release while it has that release cached, and not after that.
RETIRED_IDLE_STOP_S: Final = 15.0
STALE_AFTER_S: Final = (
    5.0  # because policies also change with time; building them takes 3 ms for a thousand deployments
)
FORGET_RETIRED_S: Final = 24 * 3600.0  # predictions that still wait for a release then are served like any queue's


class Release(NamedTuple):
    """A release of a deployment. `retired_at` is None for the current one."""

    queue: str
    number: int
    min_instances: int
    max_instances: int
    retired_at: float | None


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """`releases`: newest first. All releases of a deleted deployment are retired."""

    id: str
    changed_at: float  # unix seconds of the database
    releases: tuple[Release, ...]

    @property
    def current(self) -> Release | None:
        return next((each for each in self.releases if each.retired_at is None), None)

    @property
    def is_disabled(self) -> bool:
        """The deployment accepts no predictions, and its open ones are canceled."""
        return self.current is None or self.current.max_instances == 0


class DeploymentPolicies:
    """The policies of all deployments. No plan may be made before `is_loaded`: it would not know the
    minimum instances.
    """

    def __init__(self) -> None:
        self.is_loaded = False
        self.changed_at = 0.0
        self._deployments: dict[str, Deployment] = {}
        self._cached: tuple[Collection[str], float, dict[str, QueuePolicy]] | None = None

    def update(self, changed: Iterable[Deployment]) -> None:
        for each in changed:
            self._deployments[each.id] = each
            self.changed_at = max(self.changed_at, each.changed_at)
            self._cached = None
        self.is_loaded = True

    def disabled_queues(self) -> frozenset[str]:
        return frozenset(
            release.queue for each in self._deployments.values() if each.is_disabled for release in each.releases
        )

    def policies(self, ready: Collection[str], now: float) -> dict[str, QueuePolicy]:
        """Return the policy of each queue. `ready`: queues with a ready instance. The same dictionary until something
        changes.
        """
        if self._cached is None or self._cached[0] != ready or now - self._cached[1] > STALE_AFTER_S:
            built = dict(pair for each in self._deployments.values() for pair in _policies(each, ready, now))
            self._cached = (ready, now, built)
        return self._cached[2]

    def forget_old(self, now: float) -> None:
        """Forget releases that were retired more than FORGET_RETIRED_S ago."""
        self._cached = None
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
    if current is None or deployment.is_disabled:
        yield from ((each.queue, QueuePolicy(0, 0)) for each in deployment.releases)
        return
    yield current.queue, QueuePolicy(current.min_instances, current.max_instances)
    predecessor = _serving_predecessor(deployment, current, ready, now)
    for each in deployment.releases:
        if each.retired_at is None:
            continue
        if each is predecessor:
            floor = min(max(1, each.min_instances), each.max_instances)
            yield each.queue, QueuePolicy(floor, each.max_instances, yields_to=current.queue)
        else:
            yield each.queue, QueuePolicy(0, each.max_instances, idle_stop_s=RETIRED_IDLE_STOP_S)


def _serving_predecessor(
    deployment: Deployment, current: Release, ready: Collection[str], now: float
) -> Release | None:
    """Return the previous release that keeps serving until the current one has a ready instance, or None."""
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

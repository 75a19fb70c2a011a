"""Rules of releases: the settings after a change, and which release takes a new prediction. Pure."""

from collections.abc import Callable, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from tidemill.contracts.api.deployments import UpdateDeployment
from tidemill.contracts.errors import Problem, conflict, unprocessable
from tidemill.gateway.stores.deployments import ReleaseSettings


def checked(settings: ReleaseSettings) -> ReleaseSettings:
    """Return the settings. Raise the 422 problem for a scale that contradicts itself."""
    if settings.min_instances > settings.max_instances:
        raise unprocessable("min_instances must not be greater than max_instances.")
    return settings


def changed(now: ReleaseSettings, asked: UpdateDeployment, version_queue: str | UnsetType) -> ReleaseSettings:
    """Return the settings after a change. `version_queue`: that of the requested version. Raise the 422 problem."""
    changes = {
        "version_queue": version_queue,
        "hardware": asked.hardware,
        "min_instances": asked.min_instances,
        "max_instances": asked.max_instances,
    }
    return checked(msgspec.structs.replace(now, **{key: each for key, each in changes.items() if each is not UNSET}))


class ReleaseCandidate(msgspec.Struct, frozen=True, kw_only=True):
    """A release that can take predictions. `left_s`: for how long a retired one still can, as of the look-up."""

    queue: str
    min_instances: int
    max_instances: int
    left_s: float = 0.0


def choose_release(
    releases: Sequence[ReleaseCandidate], is_warm: Callable[[str], bool], age_s: float
) -> ReleaseCandidate:
    """Return the release for a new prediction. `releases`: the current one first, then the newest retired ones.

    This is the current release. But while it should have instances and none is ready, a retired one with ready
    instances takes the prediction, so that no prediction waits for a boot after an update. `age_s`: age of the look-up.
    """
    current, *older = releases
    if current.min_instances == 0 or is_warm(current.queue):
        return current
    return next((one for one in older if one.left_s > age_s and is_warm(one.queue)), current)


def disabled(name: str) -> Problem:
    return unprocessable(
        f"The deployment {name} is disabled: its max_instances is 0, so it takes no predictions.", "Deployment disabled"
    )


def in_use(rest_s: float) -> Problem:
    wait = f"{rest_s / 60:g} minutes" if rest_s >= 60 else f"{rest_s:g} seconds"
    return conflict(
        f"A deployment can be deleted when it has been offline and unused for {wait}: "
        "set its min_instances to 0, and wait until its last prediction has ended that long ago."
    )

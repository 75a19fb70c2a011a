"""What a change makes of a deployment's release, and which release a new prediction goes to. Pure."""

from collections.abc import Callable, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from tidemill.contracts.api.deployments import UpdateDeployment
from tidemill.contracts.errors import Problem, conflict, unprocessable


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a release says: `version_queue` is the version's own queue."""

    version_queue: str
    hardware: str
    min_instances: int
    max_instances: int

    def checked(self) -> "Plan":
        """Raises the 422 problem."""
        if self.min_instances > self.max_instances:
            raise unprocessable("min_instances must not be greater than max_instances.")
        return self

    def same_instances(self, other: "Plan") -> bool:
        """Whether instances of one can go on as instances of the other."""
        return (self.version_queue, self.hardware) == (other.version_queue, other.hardware)


def changed(now: Plan, asked: UpdateDeployment, version_queue: str | UnsetType) -> Plan:
    """The plan with what was asked for; `version_queue` is the asked version's. Raises the 422 problem."""
    wishes = {
        "version_queue": version_queue,
        "hardware": asked.hardware,
        "min_instances": asked.min_instances,
        "max_instances": asked.max_instances,
    }
    return msgspec.structs.replace(now, **{key: value for key, value in wishes.items() if value is not UNSET}).checked()


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A release that predictions can go to; `left_s`: for how long a retired one still can, as of the look-up."""

    queue: str
    min_instances: int
    max_instances: int
    left_s: float = 0.0


def choose(releases: Sequence[Candidate], is_warm: Callable[[str], bool], age_s: float) -> Candidate:
    """The release for a new prediction: of `releases`, newest first, the current one.

    Where it keeps instances, an older one with ready instances stands in until the first is up, so that an update
    makes nobody wait for a boot. `age_s`: how long ago they were looked up.
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

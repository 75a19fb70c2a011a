"""Who may change who is in an organization. Pure; raises problems."""

import msgspec

from tidemill.contracts.access import Role
from tidemill.contracts.errors import Problem, conflict, forbidden, unprocessable

MEMBERS_LIMIT = 1000  # far above any team; bounds what one request can make others read


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A user's role in an organization becomes another one. No role: not a member."""

    actor: Role  # of whoever asks
    own: bool  # he asks about himself
    before: Role | None
    after: Role | None
    owners: int  # the organization's, before
    members: int


def check(change: Change) -> None:
    """Raises the problem with a change that may not be. Members may leave; everything else is the owners' to do."""
    leaves = change.own and change.after is None
    if change.actor != "owner" and not leaves:
        raise owners_only()
    if change.before == "owner" and change.after != "owner" and change.owners == 1:
        raise conflict("The last owner of an organization can neither leave nor take another role.")
    if change.before is None and change.members >= MEMBERS_LIMIT:
        raise unprocessable(f"An organization may have at most {MEMBERS_LIMIT} members.")


def owners_only() -> Problem:
    return forbidden("Only an organization's owners may do this.")

"""Who may change the members of an organization. Pure; raises problems."""

import msgspec

from tidemill.contracts.access import Role
from tidemill.contracts.errors import Problem, conflict, forbidden, unprocessable

MEMBERS_LIMIT = 1000  # far above any team; bounds the cost of a list


class MembershipChange(msgspec.Struct, frozen=True, kw_only=True):
    """A user's role in an organization changes. None: not a member."""

    actor: Role  # of the caller
    own: bool  # the caller changes his own role
    before: Role | None
    after: Role | None
    owners: int  # of the organization, before the change
    members: int


def check(change: MembershipChange) -> None:
    """Raise the problem if the change is not allowed. Members may leave; everything else is for owners."""
    leaves = change.own and change.after is None
    if change.actor != "owner" and not leaves:
        raise owners_only()
    if change.before == "owner" and change.after != "owner" and change.owners == 1:
        raise conflict("The last owner of an organization can neither leave nor take another role.")
    if change.before is None and change.members >= MEMBERS_LIMIT:
        raise unprocessable(f"An organization may have at most {MEMBERS_LIMIT} members.")


def owners_only() -> Problem:
    return forbidden("Only an organization's owners may do this.")

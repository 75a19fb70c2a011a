"""The caller of a request: its account, and the rights of its token."""

import msgspec

from tidemill.contracts.access import Role, Scope
from tidemill.gateway.limits.allowances import Allowances


class Account(msgspec.Struct, frozen=True):
    """A user or an organization that a request acts for."""

    id: str
    username: str
    name: str
    type: str
    allowances: Allowances | None = None  # None: no limits
    retention_s: int | None = None  # how long a prediction's data is kept after completion; None: as the service is set


class Caller(msgspec.Struct, frozen=True):
    """A request's token: its account, the user who made it (None: the operator), and its scopes."""

    account: Account
    scopes: frozenset[Scope]
    token_id: str = ""
    user_id: str | None = None
    role: Role = "owner"  # of the token's maker in the account
    given: frozenset[str] = frozenset()  # the scopes as they were given when the token was made; may contain `*`
    expires_at: float | None = None  # unix seconds

    @property
    def user(self) -> str | None:
        """Return the id of the user whose rights apply; None for an organization's token that the operator made."""
        return self.account.id if self.account.type == "user" else self.user_id

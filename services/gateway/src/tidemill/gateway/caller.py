"""Who a request comes from: the account that it acts for, and what its token may do."""

import msgspec

from tidemill.contracts.access import Role, Scope
from tidemill.gateway.limits.allowances import Allowances


class Account(msgspec.Struct, frozen=True):
    """A user or an organization: whom a request acts for."""

    id: str
    username: str
    name: str
    type: str
    allowances: Allowances | None = None  # None: no limits
    retention_s: int | None = None  # of its predictions' data after completion; None: the service's own


class Caller(msgspec.Struct, frozen=True):
    """A request's token: the account it acts for, who made it (None: the operator), and what it may do."""

    account: Account
    scopes: frozenset[Scope]
    token_id: str = ""
    user_id: str | None = None
    role: Role = "owner"  # of the maker in the account
    given: frozenset[str] = frozenset()  # the scopes as the token was made with them, `*` among them
    expires_at: float | None = None  # unix seconds

    @property
    def user(self) -> str | None:
        """The id of the user whose own rights count; None for the operator's token of an organization."""
        return self.account.id if self.account.type == "user" else self.user_id

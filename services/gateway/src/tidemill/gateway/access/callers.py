"""Who a token belongs to: `Authorization` headers to callers, cached for a few seconds so that a warm request needs
no query.
"""

import hmac
from typing import Final

from tidemill.contracts.access import Role, granted_scopes
from tidemill.contracts.errors import unauthenticated
from tidemill.gateway import stores
from tidemill.gateway.access.token_uses import TokenUses
from tidemill.gateway.caller import Account, Caller
from tidemill.gateway.limits.allowances import STANDARD, Allowances, account_allowances
from tidemill.gateway.ttl_cache import TtlCache
from tidemill.runtime.db import Database
from tidemill.security import tokens

# A database that does not answer, behind a broken network for one, counts as one that refuses connections. The pool
# itself would wait for a minute.
LOOK_UP_WITHIN_S: Final = 5.0


class CallerCache:
    """Finds callers by `Authorization` header."""

    def __init__(self, database: Database, cache_s: float, default: Allowances = STANDARD) -> None:
        self._database = database
        self._cache_s = cache_s
        self._default = default
        self._callers: TtlCache[str, Caller | None] = TtlCache(self._look_up, LOOK_UP_WITHIN_S)
        self.uses = TokenUses(database)

    async def get(self, authorization: str | None) -> Caller:
        """Return the caller of `Bearer TOKEN` or `Token TOKEN`. Raise the 401 problem, and one of TRANSIENT_ERRORS."""
        if not authorization:
            raise unauthenticated(passed=False)
        caller = await self._callers.get(authorization)
        if caller is None:
            raise unauthenticated(passed=True)
        return caller

    def was_valid(self, authorization: str | None) -> bool:
        """Whether the last look-up of this header found a caller. False if it is no longer cached."""
        return authorization is not None and self._callers.peek(authorization) is not None

    def invalidate(self, identifier: str) -> None:
        """Look up again every caller with this token id or acting for this account id: it was revoked or changed."""
        self._callers.invalidate(
            lambda _, caller: caller is not None and identifier in {caller.token_id, caller.account.id}
        )

    async def _look_up(self, authorization: str) -> tuple[Caller | None, float]:
        """Return the caller, and for how many seconds to cache it: at most until the token expires."""
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() not in {"bearer", "token"} or not tokens.is_well_formed(token):
            return None, self._cache_s
        digest = tokens.digest(token)
        row = await stores.tokens.find_by_digest(self._database, digest)
        if row is None or not hmac.compare_digest(row["digest"], digest):
            return None, self._cache_s
        role: Role = row["role"] or "owner"
        self.uses.record(row["token_id"])  # cached callers are seconds old at most: a look-up is exact enough as a use
        allowances = account_allowances(row, self._default)
        caller = Caller(
            Account(row["id"], row["username"], row["name"], row["type"], allowances, row["retention_s"]),
            granted_scopes(row["scopes"], role),
            row["token_id"],
            row["user_id"],
            role,
            frozenset(row["scopes"]),
            None if row["expires_at"] is None else row["expires_at"].timestamp(),
        )
        left_s = self._cache_s if row["left_s"] is None else float(row["left_s"])
        return caller, min(self._cache_s, left_s)

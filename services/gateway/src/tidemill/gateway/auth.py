"""Who is calling: tokens to callers, remembered for a few seconds so that a warm request asks nobody."""

import hmac
from typing import Final

import msgspec

from tidemill.contracts.access import Scope, granted
from tidemill.contracts.errors import unauthenticated
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import Database
from tidemill.security import tokens

CACHE_LIMIT: Final = 10_000  # entries; bounds memory under a flood of made-up tokens
# A token that a member made for an organisation ends with the membership.
FIND: Final = """
SELECT t.id AS token_id, t.digest, t.scopes, t.user_id, a.id, a.username, a.name, a.type, m.role
FROM token t JOIN account a ON a.id = t.account_id
    LEFT JOIN member m ON m.organization_id = t.account_id AND m.user_id = t.user_id
WHERE t.digest = $1 AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
    AND (t.user_id IS NULL OR t.user_id = t.account_id OR m.role IS NOT NULL)"""


class Account(msgspec.Struct, frozen=True):
    """A user or an organisation: whom a request acts for."""

    id: str
    username: str
    name: str
    type: str


class Caller(msgspec.Struct, frozen=True):
    """A request's token: the account it acts for, who made it (None: the operator), and what it may do."""

    account: Account
    scopes: frozenset[Scope]
    token_id: str = ""
    user_id: str | None = None


class Accounts:
    """The look-up of callers by Authorization header."""

    def __init__(self, database: Database, cache_s: float) -> None:
        self._database = database
        self._cache_s = cache_s
        self._cache: dict[str, tuple[float, Caller | None]] = {}

    async def authenticate(self, authorization: str | None) -> Caller:
        """The caller behind `Bearer TOKEN` or `Token TOKEN`. Raises the 401 problem."""
        if not authorization:
            raise unauthenticated(passed=False)
        cached = self._cache.get(authorization)
        if cached is None or cached[0] < monotonic():
            cached = (monotonic() + self._cache_s, await self._look_up(authorization))
            if len(self._cache) >= CACHE_LIMIT:
                self._cache.clear()
            self._cache[authorization] = cached
        if cached[1] is None:
            raise unauthenticated(passed=True)
        return cached[1]

    async def _look_up(self, authorization: str) -> Caller | None:
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() not in {"bearer", "token"} or not tokens.looks_valid(token):
            return None
        digest = tokens.digest(token)
        row = await self._database.row(FIND, digest)
        if row is None or not hmac.compare_digest(row["digest"], digest):
            return None
        account = Account(row["id"], row["username"], row["name"], row["type"])
        return Caller(account, granted(row["scopes"], row["role"] or "owner"), row["token_id"], row["user_id"])

"""Who is calling: tokens to accounts, remembered for a few seconds so that a warm request asks nobody."""

import hmac
from typing import Final

import msgspec

from tidemill.contracts.errors import unauthenticated
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import Database
from tidemill.security import tokens

CACHE_LIMIT: Final = 10_000  # entries; bounds memory under a flood of made-up tokens
FIND_ACCOUNT: Final = """
SELECT t.digest, a.id, a.username, a.name, a.type FROM token t JOIN account a ON a.id = t.account_id
WHERE t.digest = $1 AND t.revoked_at IS NULL"""


class Account(msgspec.Struct, frozen=True):
    id: str
    username: str
    name: str
    type: str


class Accounts:
    """The look-up of accounts by Authorization header."""

    def __init__(self, database: Database, cache_s: float) -> None:
        self._database = database
        self._cache_s = cache_s
        self._cache: dict[str, tuple[float, Account | None]] = {}

    async def authenticate(self, authorization: str | None) -> Account:
        """The account behind `Bearer TOKEN` or `Token TOKEN`. Raises the 401 problem."""
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

    async def _look_up(self, authorization: str) -> Account | None:
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() not in {"bearer", "token"} or not tokens.looks_valid(token):
            return None
        digest = tokens.digest(token)
        row = await self._database.row(FIND_ACCOUNT, digest)
        if row is None or not hmac.compare_digest(row["digest"], digest):
            return None
        return Account(row["id"], row["username"], row["name"], row["type"])

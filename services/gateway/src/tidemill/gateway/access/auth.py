"""Who is calling: tokens to callers, remembered for a few seconds so that a warm request asks nobody."""

import hmac
from typing import Final

from tidemill.contracts.access import Role, granted_scopes
from tidemill.contracts.errors import unauthenticated
from tidemill.gateway.access.token_uses import Uses
from tidemill.gateway.caller import Account, Caller
from tidemill.gateway.limits.allowances import COLUMNS, STANDARD, Allowances, of_account
from tidemill.gateway.remembered import Remembered
from tidemill.runtime.db import Database
from tidemill.security import tokens

# A database that hangs, behind a broken network for one, is away like one that refuses; the pool would wait a minute.
LOOK_UP_WITHIN_S: Final = 5.0

# A token that a member made for an organization ends with the membership.
FIND: Final = f"""
SELECT t.id AS token_id, t.digest, t.scopes, t.user_id, t.expires_at, a.id, a.username, a.name, a.type, a.retention_s,
    m.role, extract(epoch FROM t.expires_at - now()) AS left_s, {COLUMNS}
FROM token t JOIN account a ON a.id = t.account_id
    LEFT JOIN member m ON m.organization_id = t.account_id AND m.user_id = t.user_id
WHERE t.digest = $1 AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
    AND (t.user_id IS NULL OR t.user_id = t.account_id OR m.role IS NOT NULL)"""  # noqa: S608 - our own constant


class Accounts:
    """The look-up of callers by Authorization header."""

    def __init__(self, database: Database, cache_s: float, default: Allowances = STANDARD) -> None:
        self._database = database
        self._cache_s = cache_s
        self._default = default
        self._callers: Remembered[str, Caller | None] = Remembered(self._look_up, LOOK_UP_WITHIN_S)
        self.uses = Uses(database)

    async def authenticate(self, authorization: str | None) -> Caller:
        """The caller behind `Bearer TOKEN` or `Token TOKEN`. Raises the 401 problem, and one of TRANSIENT_ERRORS."""
        if not authorization:
            raise unauthenticated(passed=False)
        caller = await self._callers.get(authorization)
        if caller is None:
            raise unauthenticated(passed=True)
        return caller

    def knows(self, authorization: str | None) -> bool:
        """Whether it was good when it was last looked up, lately."""
        return authorization is not None and self._callers.last(authorization) is not None

    def forget(self, identifier: str) -> None:
        """Callers with this token, or acting for this account, are looked up afresh: it was revoked or changed."""
        self._callers.forget(
            lambda _, caller: caller is not None and identifier in {caller.token_id, caller.account.id}
        )

    async def _look_up(self, authorization: str) -> tuple[Caller | None, float]:
        """The caller, and for how many seconds that is remembered: no longer than the token is good."""
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() not in {"bearer", "token"} or not tokens.is_well_formed(token):
            return None, self._cache_s
        digest = tokens.digest(token)
        row = await self._database.row(FIND, digest)
        if row is None or not hmac.compare_digest(row["digest"], digest):
            return None, self._cache_s
        role: Role = row["role"] or "owner"
        self.uses.saw(row["token_id"])  # a look-up is a use: none is further back than what is remembered
        caller = Caller(
            Account(
                row["id"], row["username"], row["name"], row["type"], of_account(row, self._default), row["retention_s"]
            ),
            granted_scopes(row["scopes"], role),
            row["token_id"],
            row["user_id"],
            role,
            frozenset(row["scopes"]),
            None if row["expires_at"] is None else row["expires_at"].timestamp(),
        )
        left_s = self._cache_s if row["left_s"] is None else float(row["left_s"])
        return caller, min(self._cache_s, left_s)

"""The SQL of API tokens. A user sees his own and those he made for his organizations, an owner all of theirs."""

from datetime import datetime
from typing import Final

import msgspec

from tidemill.contracts.access import Role
from tidemill.contracts.ids import new_id
from tidemill.gateway.caller import Caller
from tidemill.gateway.listing.cursors import Cursor, comparison
from tidemill.runtime.db import Database, Row
from tidemill.security import tokens

LIVE_TOKENS_LIMIT: Final = 1000  # per account; those that have expired do not count

_SELECT: Final = """
SELECT t.id, t.name, t.last4, t.scopes, t.account_id, a.username AS account, u.username AS created_by, t.created_at,
    t.expires_at, t.last_used_at
FROM token t JOIN account a ON a.id = t.account_id LEFT JOIN account u ON u.id = t.user_id"""
# $1: a user's id.
_OF_USER: Final = f"""{_SELECT} LEFT JOIN member m ON m.organization_id = t.account_id AND m.user_id = $1
WHERE t.revoked_at IS NULL AND t.account_id = ANY (
        ARRAY(SELECT $1::text UNION ALL SELECT organization_id FROM member WHERE user_id = $1))
    AND (t.account_id = $1 OR m.role = 'owner' OR t.user_id = $1)"""  # noqa: S608 - our own constant
# $1: an organization's id; $2: the user whose tokens are shown, or null for all.
_OF_ORGANIZATION: Final = f"""{_SELECT}
WHERE t.revoked_at IS NULL AND t.account_id = $1 AND ($2::text IS NULL OR t.user_id = $2)"""
_CREATE: Final = """
INSERT INTO token (id, account_id, user_id, name, digest, last4, scopes, expires_at)
SELECT $1, $2, $3, $4, $5, $6, $7, $8
WHERE (SELECT count(*) FROM token
    WHERE account_id = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())) < $9
RETURNING id"""
# $1: a username, $2: a user's id.
_ACTS_FOR: Final = """
SELECT a.id, m.role FROM account a JOIN member m ON m.organization_id = a.id
WHERE a.username = $1 AND m.user_id = $2 AND a.deleted_at IS NULL"""


class New(msgspec.Struct, frozen=True, kw_only=True):
    """A token to be made: whom it acts for, who makes it (None: the operator), and what it may do until when."""

    account_id: str
    user_id: str | None
    name: str
    scopes: list[str]
    expires_at: datetime | None


def _reach(caller: Caller) -> tuple[str, list[str | None]]:
    """SQL for the tokens that a caller may see and revoke, and its parameters."""
    if caller.account.type == "user":
        return _OF_USER, [caller.account.id]
    return _OF_ORGANIZATION, [caller.account.id, None if caller.role == "owner" else caller.user_id]


async def token(database: Database, caller: Caller, token_id: str) -> Row | None:
    sql, values = _reach(caller)
    return await database.row(f"{sql} AND t.id = ${len(values) + 1}", *values, token_id)


async def tokens_of(
    database: Database, caller: Caller, account: str | None, cursor: Cursor | None, limit: int
) -> list[Row]:
    """`account`: only those that act for the account of this username."""
    operator, order, position = comparison(cursor)
    sql, values = _reach(caller)
    count = len(values)
    sql = f"""{sql} AND (${count + 1}::text IS NULL OR a.username = ${count + 1}) AND t.id {operator} ${count + 2}
        ORDER BY t.id {order} LIMIT ${count + 3}"""
    return await database.fetch(sql, *values, account, position, limit)


async def role_in(database: Database, user_id: str, organization: str) -> tuple[str, Role] | None:
    """The id of the organization of this username, and the user's role in it."""
    row = await database.row(_ACTS_FOR, organization, user_id)
    return None if row is None else (row["id"], row["role"])


async def create(database: Database, new: New, secret: str) -> str | None:
    """The token's id; None when the account has LIVE_TOKENS_LIMIT."""
    made: str | None = await database.value(
        _CREATE,
        new_id(),
        new.account_id,
        new.user_id,
        new.name,
        tokens.digest(secret),
        tokens.last4(secret),
        new.scopes,
        new.expires_at,
        LIVE_TOKENS_LIMIT,
    )
    return made


async def revoke(database: Database, token_id: str) -> None:
    await database.execute("UPDATE token SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL", token_id)

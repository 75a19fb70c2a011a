"""The SQL of API tokens. A user sees his own tokens and those that he made for his organizations; an owner of an
organization sees all of its tokens.
"""

from collections.abc import Collection
from typing import Final

from tidemill.contracts.access import Role
from tidemill.gateway.caller import Caller
from tidemill.gateway.listing.cursors import Cursor, comparison
from tidemill.runtime.db import Database, Row

# Tokens that count. A token that a member made for an organization ends with the membership.
_VALID: Final = """
FROM token t JOIN account a ON a.id = t.account_id
    LEFT JOIN member m ON m.organization_id = t.account_id AND m.user_id = t.user_id
WHERE t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
    AND (t.user_id IS NULL OR t.user_id = t.account_id OR m.role IS NOT NULL)"""
_FIND_CALLER: Final = f"""
SELECT t.id AS token_id, t.digest, t.scopes, t.user_id, t.expires_at, a.id, a.username, a.name, a.type, a.retention_s,
    m.role, extract(epoch FROM t.expires_at - now()) AS left_s,
    a.unlimited, a.creates_per_minute, a.creates_burst, a.requests_per_minute, a.requests_burst, a.open_predictions
{_VALID} AND t.digest = $1"""
_LIST_VALID: Final = f"SELECT t.id, t.scopes, m.role {_VALID} AND t.id = ANY ($1)"
_SELECT: Final = """
SELECT t.id, t.name, t.last4, t.scopes, t.account_id, a.username AS account, u.username AS created_by, t.created_at,
    t.expires_at, t.last_used_at
FROM token t JOIN account a ON a.id = t.account_id LEFT JOIN account u ON u.id = t.user_id"""
# $1: a user's id.
_OF_USER: Final = f"""{_SELECT} LEFT JOIN member m ON m.organization_id = t.account_id AND m.user_id = $1
WHERE t.revoked_at IS NULL AND t.account_id = ANY (
        ARRAY(SELECT $1::text UNION ALL SELECT organization_id FROM member WHERE user_id = $1))
    AND (t.account_id = $1 OR m.role = 'owner' OR t.user_id = $1)"""
# $1: an organization's id; $2: the user whose tokens are shown, or null for all.
_OF_ORGANIZATION: Final = f"""{_SELECT}
WHERE t.revoked_at IS NULL AND t.account_id = $1 AND ($2::text IS NULL OR t.user_id = $2)"""
# $1: a username, $2: a user's id.
_ACTS_FOR: Final = """
SELECT a.id, m.role FROM account a JOIN member m ON m.organization_id = a.id
WHERE a.username = $1 AND m.user_id = $2 AND a.deleted_at IS NULL"""


def _visible_to(caller: Caller) -> tuple[str, list[str | None]]:
    """Return the SQL that selects the tokens which a caller may see and revoke, and its parameters."""
    if caller.account.type == "user":
        return _OF_USER, [caller.account.id]
    return _OF_ORGANIZATION, [caller.account.id, None if caller.role == "owner" else caller.user_id]


async def find(database: Database, caller: Caller, token_id: str) -> Row | None:
    sql, values = _visible_to(caller)
    return await database.row(f"{sql} AND t.id = ${len(values) + 1}", *values, token_id)


async def page(database: Database, caller: Caller, account: str | None, cursor: Cursor | None, limit: int) -> list[Row]:
    """`account`: a username; only tokens that act for this account. None: all."""
    operator, order, position = comparison(cursor)
    sql, values = _visible_to(caller)
    count = len(values)
    sql = f"""{sql} AND (${count + 1}::text IS NULL OR a.username = ${count + 1}) AND t.id {operator} ${count + 2}
        ORDER BY t.id {order} LIMIT ${count + 3}"""
    return await database.fetch(sql, *values, account, position, limit)


async def find_membership(database: Database, user_id: str, organization: str) -> tuple[str, Role] | None:
    """Return the id of the organization with this username, and the user's role in it. None if he is no member."""
    row = await database.row(_ACTS_FOR, organization, user_id)
    return None if row is None else (row["id"], row["role"])


async def find_by_digest(database: Database, digest: bytes) -> Row | None:
    """Return the valid token with this digest, its account, the account's limits, and its maker's role (null: none).

    `left_s`: seconds until the token expires, null for never.
    """
    return await database.row(_FIND_CALLER, digest)


async def list_valid(database: Database, token_ids: Collection[str]) -> list[Row]:
    """Return those of the tokens that are valid, with their scopes and their maker's role (null: an owner's rights)."""
    return await database.fetch(_LIST_VALID, list(token_ids))

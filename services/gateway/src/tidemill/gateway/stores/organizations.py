"""The SQL of accounts' settings, of organizations and of their members.

Only members find an organization: for all others it looks like a missing one.
"""

from typing import Any, Final

import msgspec

from tidemill.contracts.access import Role
from tidemill.contracts.api.accounts import CreateOrganization
from tidemill.contracts.errors import Problem, conflict, not_found
from tidemill.gateway import membership_rules
from tidemill.gateway.caller import Caller
from tidemill.gateway.listing.cursors import Cursor, comparison
from tidemill.runtime.accounts import life
from tidemill.runtime.accounts.tokens import revoke_all
from tidemill.runtime.db import Database, Row

OWNED_ORGANIZATIONS_LIMIT: Final = 100  # per user; each has its own limits, so their number must be bounded

_ORGANIZATION: Final = "o.id, o.username, o.name, o.github_url, o.avatar_url, o.retention_s, o.created_at"
_LIVE: Final = "o.type = 'organization' AND o.deleted_at IS NULL"
# $1: a user's id.
_OF_MEMBER: Final = f"""
SELECT {_ORGANIZATION}, m.role FROM member m JOIN account o ON o.id = m.organization_id
WHERE m.user_id = $1 AND {_LIVE}"""
# $1: an organization's id, for a token that the operator created.
_OF_OPERATOR: Final = f"""
SELECT {_ORGANIZATION}, 'owner' AS role FROM account o WHERE o.id = $1 AND {_LIVE}"""
# Not FOR UPDATE: that would block every new prediction of the organization, whose row has it as a foreign key.
_LOCK: Final = f"SELECT 1 FROM account o WHERE o.username = $1 AND {_LIVE} FOR NO KEY UPDATE"
_SET_MEMBER: Final = """
INSERT INTO member (organization_id, user_id, role) VALUES ($1, $2, $3)
ON CONFLICT (organization_id, user_id) DO UPDATE SET role = excluded.role"""
_DELETE_MEMBER: Final = "DELETE FROM member WHERE organization_id = $1 AND user_id = $2"
_MEMBER: Final = "SELECT u.id, u.username, u.name, u.avatar_url, m.role, m.created_at FROM account u"
_USER: Final = f"""
{_MEMBER} LEFT JOIN member m ON m.user_id = u.id AND m.organization_id = $1
WHERE u.username = $2 AND u.type = 'user'"""
_COUNTS: Final = """
SELECT count(*) FILTER (WHERE role = 'owner'), count(*) FROM member WHERE organization_id = $1"""
# What must be deleted first: everything that users could still see or be billed for. `account_id = $1` in each.
HOLDINGS: Final = {
    "models": "SELECT 1 FROM model WHERE account_id = $1",
    "deployments": "SELECT 1 FROM deployment WHERE account_id = $1 AND deleted_at IS NULL",
    "event consumers": "SELECT 1 FROM event_consumer WHERE account_id = $1",
    "files": "SELECT 1 FROM file WHERE account_id = $1 AND expires_at > now()",
    "predictions whose data is still kept": "SELECT 1 FROM prediction WHERE account_id = $1 AND NOT data_removed",
}


class UsernameTaken(Exception):  # noqa: N818 - named after the situation
    """Another account has the username."""


async def find_account(database: Database, account_id: str) -> Row:
    row = await database.row(
        "SELECT username, name, type, github_url, avatar_url, retention_s, created_at FROM account WHERE id = $1",
        account_id,
    )
    assert row is not None, "accounts are never deleted from the table, and a token names one"
    return row


def _visible_to(caller: Caller) -> tuple[str, list[str]]:
    """Return the SQL that selects the caller's organizations, each with his role, and its parameters.

    A token of a user sees all organizations that he is in; a token of an organization sees only this one.
    """
    if caller.user is None:
        return _OF_OPERATOR, [caller.account.id]
    if caller.account.type == "user":
        return _OF_MEMBER, [caller.user]
    return f"{_OF_MEMBER} AND o.id = $2", [caller.user, caller.account.id]


async def find(database: Database, caller: Caller, username: str) -> Row | None:
    """Return the organization with the caller's role, or None."""
    sql, values = _visible_to(caller)
    return await database.row(f"{sql} AND o.username = ${len(values) + 1}", *values, username)


async def page(database: Database, caller: Caller, cursor: Cursor | None, limit: int) -> list[Row]:
    operator, order, position = comparison(cursor)
    sql, values = _visible_to(caller)
    count = len(values)
    sql = f"{sql} AND o.id {operator} ${count + 1} ORDER BY o.id {order} LIMIT ${count + 2}"
    return await database.fetch(sql, *values, position, limit)


async def create(database: Database, user_id: str, body: CreateOrganization) -> bool:
    """Create an organization with the user as its owner. Return False when he owns OWNED_ORGANIZATIONS_LIMIT.

    Raise UsernameTaken.
    """
    async with database.transaction() as connection:
        made = await life.create_organization(
            connection, body.username, body.name or body.username, user_id, OWNED_ORGANIZATIONS_LIMIT
        )
        if made is not None:
            await connection.execute(_SET_MEMBER, made, user_id, "owner")
            return True
        if await connection.fetchval("SELECT true FROM account WHERE username = $1", body.username):
            raise UsernameTaken
    return False


async def delete(database: Database, caller: Caller, username: str) -> str:
    """Delete the organization and return its id. Raise the problem if it cannot be deleted."""
    async with database.transaction() as connection:
        found = await _locked(connection, caller, username)
        if found["role"] != "owner":
            raise membership_rules.owners_only()
        held = [name for name, sql in HOLDINGS.items() if await connection.fetchval(f"{sql} LIMIT 1", found["id"])]
        if held:
            raise conflict(f"{username} still has {', '.join(held)}. Delete them first.")
        await life.delete(connection, found["id"])
        await connection.execute("DELETE FROM member WHERE organization_id = $1", found["id"])
        await revoke_all(connection, found["id"], None)
        return str(found["id"])


async def _locked(connection: Any, caller: Caller, username: str) -> Row:
    """Return the organization with the caller's role, locked against other changes. Raise the 404 problem."""
    # Lock before reading the roles: the transaction that held the lock may have changed them.
    await connection.execute(_LOCK, username)
    sql, values = _visible_to(caller)
    row: Row | None = await connection.fetchrow(f"{sql} AND o.username = ${len(values) + 1}", *values, username)
    if row is None:
        raise not_found()
    return row


async def members_page(database: Database, organization_id: str, cursor: Cursor | None, limit: int) -> list[Row]:
    operator, order, position = comparison(cursor)
    sql = f"""{_MEMBER} JOIN member m ON m.user_id = u.id
        WHERE m.organization_id = $1 AND u.id {operator} $2 ORDER BY u.id {order} LIMIT $3"""
    return await database.fetch(sql, organization_id, position, limit)


class UpdatedMembership(msgspec.Struct, frozen=True):
    organization_id: str
    before: Role | None
    member: Row


async def set_member(
    database: Database, caller: Caller, username: str, member: str, role: Role | None
) -> UpdatedMembership:
    """Set a user's role in an organization; None removes him. Raise the problem if it is not allowed."""
    async with database.transaction() as connection:
        found = await _locked(connection, caller, username)
        user = await _user(connection, found["id"], member)
        if role is None and user["role"] is None:
            raise Problem(404, f"There is no member named {member}.")
        owners, members = await connection.fetchrow(_COUNTS, found["id"]) or (0, 0)
        membership_rules.check(
            membership_rules.MembershipChange(
                actor=found["role"],
                own=caller.user == user["id"],
                before=user["role"],
                after=role,
                owners=owners,
                members=members,
            )
        )
        if role is None:
            await connection.execute(_DELETE_MEMBER, found["id"], user["id"])
            await revoke_all(connection, found["id"], user["id"])
            return UpdatedMembership(found["id"], user["role"], user)
        await connection.execute(_SET_MEMBER, found["id"], user["id"], role)
        return UpdatedMembership(found["id"], user["role"], await _user(connection, found["id"], member))


async def _user(connection: Any, organization_id: str, username: str) -> Row:
    """Return the user with his role in the organization (null: none). Raise the 404 problem."""
    row: Row | None = await connection.fetchrow(_USER, organization_id, username)
    if row is None:
        raise Problem(404, f"There is no user named {username}.")
    return row

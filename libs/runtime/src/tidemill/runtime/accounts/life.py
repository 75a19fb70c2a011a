"""The life of an account: created, changed, limited, deleted. Its row stays, so that its name stays taken.

`connection` is one of asyncpg, with or without a transaction, as the caller needs.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tidemill.contracts.ids import new_id
from tidemill.security import webhook_signatures

if TYPE_CHECKING:  # the command imports this module, and asyncpg only when it connects
    from tidemill.runtime.db import Database, Row

SETTINGS: Final = ("name", "github_url", "avatar_url", "retention_s")
LIMITS: Final = (
    *("creates_per_minute", "creates_burst", "requests_per_minute", "requests_burst", "open_predictions"),
    "time_limit_s",
)

CREATE_USER: Final = """
INSERT INTO account (id, username, name, webhook_secret, unlimited) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING"""
CREATE_ORGANIZATION: Final = """
INSERT INTO account (id, username, name, type, webhook_secret)
SELECT $1, $2, $3, 'organization', $4
WHERE (SELECT count(*) FROM member WHERE user_id = $5 AND role = 'owner') < $6
ON CONFLICT (username) DO NOTHING RETURNING id"""
_SET_LIMITS: Final = ", ".join(
    f"{name} = CASE WHEN $3 THEN ${n} ELSE COALESCE(${n}, {name}) END" for n, name in enumerate(LIMITS, 4)
)
SET_LIMITS: Final = f"""
UPDATE account SET unlimited = COALESCE($2, unlimited AND NOT $3), {_SET_LIMITS}
WHERE username = $1 RETURNING unlimited, {", ".join(LIMITS)}"""
SET_OFFICIAL: Final = "UPDATE account SET official = $2 WHERE username = $1"
ROTATE: Final = "UPDATE account SET webhook_secret = $2 WHERE id = $1"
DELETE: Final = "UPDATE account SET deleted_at = now() WHERE id = $1"


async def create_user(connection: Any, username: str, name: str, *, unlimited: bool) -> bool:
    """Create a user. Return False if an account has the username.

    Callers: the CLI. Fence: the unique username. Cost: one row.
    """
    secret = webhook_signatures.new_secret()
    return str(await connection.execute(CREATE_USER, new_id(), username, name, secret, unlimited)).endswith("1")


async def create_organization(connection: Any, username: str, name: str, owner: str, limit: int) -> str | None:
    """Create an organization and return its id. None if an account has the username, or the owner has `limit` of them.

    Callers: the gateway, in the transaction that makes the user `owner` its owner.
    Fence: the unique username. Cost: the owner's memberships, and one row.
    """
    made: str | None = await connection.fetchval(
        CREATE_ORGANIZATION, new_id(), username, name, webhook_signatures.new_secret(), owner, limit
    )
    return made


async def update(database: "Database", account: str, changes: Mapping[str, object]) -> None:
    """Change settings of an account. `changes`: values by column; those that are none of SETTINGS are ignored.

    Callers: the gateway. Fence: none, the last one wins. Cost: one probe of the primary key.
    """
    columns = [name for name in SETTINGS if name in changes]
    if columns:
        assignments = ", ".join(f"{name} = ${number}" for number, name in enumerate(columns, 2))
        sql = f"UPDATE account SET {assignments} WHERE id = $1"
        await database.execute(sql, account, *(changes[name] for name in columns))


async def set_limits(
    connection: Any,
    username: str,
    numbers: Sequence[int | None],
    *,
    unlimited: bool | None,
    default: bool,
) -> "Row | None":
    """Change limits; `numbers` in the order of LIMITS, None for no change. Return all, or None: no such account.

    `default` first forgets what was set before.

    Callers: the CLI. Fence: none. Cost: one probe of the index on username.
    """
    row: Row | None = await connection.fetchrow(SET_LIMITS, username, unlimited, default, *numbers)
    return row


async def set_official(connection: Any, username: str, *, official: bool) -> bool:
    """Mark the account's models as official, or take the mark away. Return False if there is no such account.

    Callers: the CLI. Fence: none. Cost: one probe of the index on username.
    """
    return str(await connection.execute(SET_OFFICIAL, username, official)).endswith("1")


async def replace_webhook_secret(connection: Any, account: str, secret: str) -> None:
    """Sign the account's webhooks by another secret.

    Callers: the gateway, in the transaction that has locked the account's row.
    Fence: that lock. Cost: one probe of the primary key.
    """
    await connection.execute(ROTATE, account, secret)


async def delete(connection: Any, account: str) -> None:
    """Delete an account. Its row keeps the name: links to it must not point to another one later.

    Callers: the gateway, in the transaction that has locked the account's row and revokes its tokens.
    Fence: that lock. Cost: one probe of the primary key.
    """
    await connection.execute(DELETE, account)

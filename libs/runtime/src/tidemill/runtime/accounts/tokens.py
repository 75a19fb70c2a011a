"""The life of a token: created, used, revoked. Only the digest of its secret is stored."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from tidemill.contracts.ids import new_id
from tidemill.runtime.parameters import Moment, Unnest
from tidemill.security import tokens

if TYPE_CHECKING:  # the command imports this module, and asyncpg only when it connects
    from tidemill.runtime.db import Database


class NewToken(msgspec.Struct, frozen=True):
    """A token to be created: for whom it acts, and what it may do. `user_id`: who makes it."""

    account_id: str
    user_id: str | None
    name: str
    scopes: Sequence[str]
    expires_at: datetime | None


class TokenUse(NamedTuple):
    """When a token was used, in unix seconds."""

    id: str
    moment: Moment


USES: Final = Unnest(TokenUse, "u")
CREATE: Final = """
INSERT INTO token (id, account_id, user_id, name, digest, last4, scopes, expires_at)
SELECT $1, $2, $3, $4, $5, $6, $7, $8
WHERE (SELECT count(*) FROM token
    WHERE account_id = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())) < $9
RETURNING id"""
CREATE_OF_OPERATOR: Final = """
INSERT INTO token (id, account_id, name, digest, last4) SELECT $1, id, $3, $4, $5 FROM account
WHERE username = $2 AND deleted_at IS NULL"""
# Several gateways write the same tokens at the same moment. They lock the rows in one order, which avoids deadlocks.
RECORD_USES: Final = f"""
WITH used AS (SELECT * FROM {USES.rows}),
    locked AS (SELECT t.id FROM token t WHERE t.id = ANY ({USES["id"]}) ORDER BY t.id FOR UPDATE)
UPDATE token t SET last_used_at = greatest(t.last_used_at, u.moment)
FROM used u JOIN locked l USING (id) WHERE t.id = u.id"""
REVOKE: Final = "UPDATE token SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL"
REVOKE_ALL: Final = """
UPDATE token SET revoked_at = now()
WHERE account_id = $1 AND ($2::text IS NULL OR user_id = $2) AND revoked_at IS NULL"""


async def create(database: "Database", new: NewToken, secret: str, limit: int) -> str | None:
    """Create a token and return its id, or None if the account has `limit` valid ones.

    Callers: the gateway. Fence: none. Cost: the account's tokens, by their index, and one row.
    """
    made: str | None = await database.value(
        CREATE,
        new_id(),
        new.account_id,
        new.user_id,
        new.name,
        tokens.digest(secret),
        tokens.last4(secret),
        new.scopes,
        new.expires_at,
        limit,
    )
    return made


async def create_of_operator(connection: Any, username: str, name: str, secret: str) -> bool:
    """Create a token of the account itself, with all scopes. Return False if there is no such account.

    Callers: the CLI. Fence: none. Cost: one probe of the index on username, and one row.
    """
    values = new_id(), username, name, tokens.digest(secret), tokens.last4(secret)
    return str(await connection.execute(CREATE_OF_OPERATOR, *values)).endswith("1")


async def record_uses(database: "Database", moments: Mapping[str, float]) -> None:
    """Store when tokens were last used: unix seconds by token id.

    Callers: gateways, once a minute. Fence: the later moment wins. Cost: two probes of the primary key per token.
    """
    uses = [TokenUse(*each) for each in moments.items()]
    await database.execute(RECORD_USES, *USES.arrays(uses))


async def revoke(database: "Database", token: str) -> None:
    """Revoke a token for good.

    Callers: the gateway. Fence: revoked once, the first moment stays. Cost: one probe of the primary key.
    """
    await database.execute(REVOKE, token)


async def revoke_all(connection: Any, account: str, user: str | None) -> None:
    """Revoke the tokens that act for the account: those that `user` made, or all if it is None.

    Callers: the gateway, in the transaction that ends a membership or deletes the organization. Otherwise the tokens
    would be valid again if the user became a member again.
    Fence: revoked once. Cost: the account's tokens, by their index.
    """
    await connection.execute(REVOKE_ALL, account, user)

"""The SQL of deployments and their releases. An account sees its own deployments only."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import asyncpg
import msgspec

from tidemill.contracts.errors import invalid_version
from tidemill.contracts.ids import new_id
from tidemill.contracts.limits import HAND_OVER_LIMIT_S
from tidemill.contracts.prediction import SQL_OPEN
from tidemill.gateway.listing.cursors import Cursor, comparison
from tidemill.runtime.db import Database, Row

DEPLOYMENTS_LIMIT: Final = 500  # per account; each may keep instances running

_DEPLOYMENT: Final = """
SELECT d.id, d.owner, d.name, r.number, r.created_at AS released_at, r.hardware, r.min_instances, r.max_instances,
    r.version_queue, v.id AS version, m.owner || '/' || m.name AS model,
    a.type, a.username, a.name AS account_name, a.github_url, a.avatar_url
FROM deployment d JOIN release r ON r.deployment_id = d.id AND r.retired_at IS NULL
    JOIN version v ON v.queue = r.version_queue JOIN model m ON m.id = v.model_id JOIN account a ON a.id = d.account_id
WHERE d.deleted_at IS NULL AND d.account_id = $1"""

_CREATE: Final = """
WITH made AS (
    INSERT INTO deployment (id, account_id, owner, name)
    SELECT $1, $2, $3, $4 FROM version
    WHERE queue = $7 AND (SELECT count(*) FROM deployment WHERE account_id = $2 AND deleted_at IS NULL) < $5
    ON CONFLICT (owner, name) WHERE deleted_at IS NULL DO NOTHING RETURNING id)
INSERT INTO release (queue, deployment_id, number, version_queue, streams, hardware, min_instances, max_instances)
SELECT $6, made.id, 1, v.queue, v.streams, $8, $9, $10 FROM made, version v WHERE v.queue = $7
RETURNING deployment_id"""

# The current release and the retired ones that may still take predictions; times are the database's.
_RELEASES: Final = f"""
SELECT r.queue, r.min_instances, r.max_instances, r.retired_at IS NOT NULL AS retired,
    COALESCE({HAND_OVER_LIMIT_S} - extract(epoch FROM now() - r.retired_at), 0)::float8 AS left_s,
    v.id AS version, m.owner || '/' || m.name AS model
FROM deployment d JOIN release r ON r.deployment_id = d.id JOIN version v ON v.queue = r.version_queue
    JOIN model m ON m.id = v.model_id
WHERE d.deleted_at IS NULL AND d.account_id = $1 AND d.owner = $2 AND d.name = $3
    AND (r.retired_at IS NULL OR r.retired_at > now() - make_interval(secs => {HAND_OVER_LIMIT_S}))
ORDER BY r.retired_at IS NULL DESC, r.number DESC LIMIT 5"""

# The release is read by a second statement: a statement that waited for the lock would see the release of before.
_LOCK: Final = """
SELECT id FROM deployment
WHERE deleted_at IS NULL AND account_id = $1 AND owner = $2 AND name = $3 FOR UPDATE"""
_CURRENT: Final = """
SELECT deployment_id AS id, queue, number, version_queue, hardware, min_instances, max_instances
FROM release WHERE deployment_id = $1 AND retired_at IS NULL"""
_SCALE: Final = """
UPDATE release SET number = number + 1, min_instances = $2, max_instances = $3, created_at = now() WHERE queue = $1"""
_RETIRE: Final = "UPDATE release SET retired_at = now() WHERE queue = $1"
_RELEASE: Final = """
INSERT INTO release (queue, deployment_id, number, version_queue, streams, hardware, min_instances, max_instances)
SELECT $1, $2, $3, v.queue, v.streams, $5, $6, $7 FROM version v WHERE v.queue = $4"""
_TOUCH: Final = "UPDATE deployment SET changed_at = clock_timestamp() WHERE id = $1"
_DELETE: Final = "UPDATE deployment SET deleted_at = now(), changed_at = clock_timestamp() WHERE id = $1"

_QUEUES: Final = "SELECT queue FROM release WHERE deployment_id = $1"
# An open prediction counts as use, however old it is. There may be many ended ones: the newest 1000 are enough.
_USED: Final = f"""
SELECT EXISTS (SELECT FROM (
    SELECT status, created_at, completed_at FROM prediction WHERE deployment = $1 ORDER BY id DESC LIMIT 1000) p
    WHERE p.status IN {SQL_OPEN} OR COALESCE(p.completed_at, p.created_at) > now() - make_interval(secs => $2))"""


class DeploymentName(NamedTuple):
    """`owner`/`name`, as the account `account_id` sees it."""

    account_id: str
    owner: str
    name: str


class ReleaseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a release runs and how. `version_queue`: the queue of the version itself."""

    version_queue: str
    hardware: str
    min_instances: int
    max_instances: int

    def same_instances(self, other: "ReleaseSettings") -> bool:
        """Whether the instances of one release can serve the other."""
        return (self.version_queue, self.hardware) == (other.version_queue, other.hardware)


async def create(database: Database, name: DeploymentName, settings: ReleaseSettings) -> bool:
    """Return False when the name is taken, the account has DEPLOYMENTS_LIMIT, or the version is deleted."""
    scale = settings.hardware, settings.min_instances, settings.max_instances
    new = new_id(), *name, DEPLOYMENTS_LIMIT, new_id(), settings.version_queue, *scale
    async with _deleted_versions_refused():
        return await database.value(_CREATE, *new) is not None


async def find(database: Database, name: DeploymentName) -> Row | None:
    return await database.row(f"{_DEPLOYMENT} AND d.owner = $2 AND d.name = $3", *name)


async def page(database: Database, account_id: str, cursor: Cursor | None, limit: int) -> list[Row]:
    operator, order, position = comparison(cursor)
    sql = f"{_DEPLOYMENT} AND d.id {operator} $2 ORDER BY d.id {order} LIMIT $3"
    return await database.fetch(sql, account_id, position, limit)


async def list_releases(database: Database, name: DeploymentName) -> list[Row]:
    """Return the current release first. Empty when there is no such deployment."""
    return await database.fetch(_RELEASES, *name)


@asynccontextmanager
async def _deleted_versions_refused() -> AsyncIterator[None]:
    """Raise the 422 problem when the version is deleted at the same moment."""
    try:
        yield
    except asyncpg.ForeignKeyViolationError:
        raise invalid_version() from None


async def _locked(connection: "asyncpg.pool.PoolConnectionProxy[Row]", name: DeploymentName) -> Row | None:
    """Return the deployment's current release, or None. Nothing else changes it until the transaction ends."""
    deployment_id = await connection.fetchval(_LOCK, *name)
    return None if deployment_id is None else await connection.fetchrow(_CURRENT, deployment_id)


async def update(
    database: Database, name: DeploymentName, decide: Callable[[ReleaseSettings], ReleaseSettings]
) -> bool:
    """Release what `decide` returns for the current settings. Return False when there is no such deployment.

    A change of the scale alone updates the current release; another version or hardware retires it and adds a new one.
    """
    async with _deleted_versions_refused(), database.transaction() as connection:
        row = await _locked(connection, name)
        if row is None:
            return False
        now = ReleaseSettings(**{field: row[field] for field in ReleaseSettings.__struct_fields__})
        then = decide(now)
        if then == now:
            return True
        if then.same_instances(now):
            await connection.execute(_SCALE, row["queue"], then.min_instances, then.max_instances)
        else:
            await connection.execute(_RETIRE, row["queue"])
            scale = then.hardware, then.min_instances, then.max_instances
            await connection.execute(_RELEASE, new_id(), row["id"], row["number"] + 1, then.version_queue, *scale)
        await connection.execute(_TOUCH, row["id"])
    return True


async def delete(
    database: Database, name: DeploymentName, rest_s: float, is_warm: Callable[[str], bool]
) -> bool | None:
    """Return None when there is no such deployment, False when it is online or was used within `rest_s` seconds."""
    async with database.transaction() as connection:
        row = await _locked(connection, name)
        if row is None:
            return None
        queues = [each["queue"] for each in await connection.fetch(_QUEUES, row["id"])]
        online = row["min_instances"] > 0 or any(is_warm(queue) for queue in queues)
        if online or await connection.fetchval(_USED, f"{name.owner}/{name.name}", rest_s):
            return False
        await connection.execute(_RETIRE, row["queue"])
        await connection.execute(_DELETE, row["id"])
    return True

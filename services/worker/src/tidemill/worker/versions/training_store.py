"""The SQL of a training's result: adds a version to its destination, if the training has not ended meanwhile."""

from typing import Final

import msgspec

from tidemill.contracts.api.pushes import BundleFile
from tidemill.contracts.bundle import bundle_digest, version_id
from tidemill.contracts.ids import new_id
from tidemill.contracts.prediction import SQL_OPEN
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.runtime.db import Database
from tidemill.security.bundle_paths import check_paths
from tidemill.worker.versions.push_store import INSERT, KNOWN, LATEST

# The row lock makes a cancel wait until the version is added or refused.
BASE: Final = f"""
SELECT p.account_id, p.destination, m.id AS model_id, b.account_id AS author, v.cog_version,
    v.openapi_schema, v.files, v.config, v.streams
FROM prediction p JOIN queue_version q ON q.queue = p.queue JOIN version v ON v.queue = q.version_queue
    JOIN model b ON b.id = v.model_id
    JOIN model m ON m.owner = split_part(p.destination, '/', 1) AND m.name = split_part(p.destination, '/', 2)
        AND m.account_id = p.account_id
WHERE p.id = $1 AND p.attempt = $2 AND p.status IN {SQL_OPEN} AND (p.worker IS NULL OR p.worker = $3)
FOR UPDATE OF p"""
BLOB: Final = "INSERT INTO blob (account_id, digest, size) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"


class TrainingAttempt(msgspec.Struct, frozen=True):
    """The fence of the write: the training's attempt and its worker."""

    id: str
    attempt: int
    worker: str


async def add_version(database: Database, attempt: TrainingAttempt, weights: BundleFile) -> str | None:
    """Add the trained version's files with these weights as the latest version of the destination.

    Return owner/name:id, or None if the training has ended or its destination was deleted. Raise BundleError if the
    files are too many.
    """
    async with database.transaction() as connection:
        row = await connection.fetchrow(BASE, attempt.id, attempt.attempt, attempt.worker)
        if row is None:
            return None
        config = msgspec.json.decode(row["config"], type=ModelConfig)
        author = config.author or (None if row["author"] == row["account_id"] else row["author"])
        old = {weights.path, config.weights}
        files = [*(f for f in msgspec.json.decode(row["files"], type=list[BundleFile]) if f.path not in old), weights]
        check_paths([(file.path, file.size) for file in files])
        digest = bundle_digest(files)
        identifier = await connection.fetchval(KNOWN, row["model_id"], digest) or version_id(row["model_id"], digest)
        await connection.execute(BLOB, row["account_id"], weights.sha256, weights.size)
        await connection.execute(
            INSERT,
            new_id(),
            identifier,
            digest,
            row["model_id"],
            row["cog_version"],
            row["openapi_schema"],
            msgspec.json.encode(files).decode(),
            msgspec.json.encode(msgspec.structs.replace(config, weights=weights.path, author=author)).decode(),
            row["streams"],
        )
        await connection.execute(LATEST, row["model_id"], identifier)
    return f"{row['destination']}:{identifier}"

"""Migrations: numbered SQL files, each applied once, forward only. Several services may start at the same time.

The table of applied migrations holds the SHA-256 of each file: a file that was edited after it had been applied is
refused.
"""

import hashlib
from importlib.resources import files

from tidemill.runtime.db import Database, retry_transient
from tidemill.runtime.service import StartError

LOCK = 7_234_110  # any number, the same for all services
LEDGER = """
CREATE TABLE IF NOT EXISTS migration (
    name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"""


async def migrate(database: Database) -> None:
    """Apply the migrations that are missing. Raise StartError if an applied file has been edited since."""
    await retry_transient("migrate", lambda: _migrate(database))


async def _migrate(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        await connection.execute(LEDGER)
        applied = {row["name"]: row["sha256"] for row in await connection.fetch("SELECT name, sha256 FROM migration")}
        for path in sorted(files("tidemill.runtime.migrations").iterdir(), key=lambda path: path.name):
            if not path.name.endswith(".sql"):
                continue
            text = path.read_text()
            digest = hashlib.sha256(text.encode()).hexdigest()
            if path.name not in applied:
                await connection.execute(text)
                await connection.execute("INSERT INTO migration (name, sha256) VALUES ($1, $2)", path.name, digest)
            elif applied[path.name] != digest:
                raise StartError(f"migration {path.name} is not the one that was applied to this database")

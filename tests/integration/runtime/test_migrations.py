"""Migrations of a database that has rows already, and of one whose applied files differ."""

import hashlib
from importlib.resources import files

import asyncpg
import pytest

from tidemill.gateway.stores.versions import find_runnable
from tidemill.runtime.db import Database
from tidemill.runtime.migrate import LEDGER, migrate
from tidemill.runtime.service import StartError
from tidemill.testing import rows
from tidemill.testing.servers import migrated


@pytest.fixture
async def as_before(tmp_path):
    """Runs a statement in a database as it was before a migration, and brings it up to date."""
    async with migrated(tmp_path / "postgres") as server:

        async def make(migration, statement):
            connection = await asyncpg.connect(server.url)
            await connection.execute("CREATE DATABASE earlier")
            await connection.close()
            async with Database(server.database_url("earlier")) as database:
                await database.execute(LEDGER)
                for path in sorted(files("tidemill.runtime.migrations").iterdir(), key=lambda path: path.name):
                    if path.name.endswith(".sql") and path.name < migration:
                        text = path.read_text()
                        await database.execute(text)
                        digest = hashlib.sha256(text.encode()).hexdigest()
                        await rows.insert(database, "migration", name=path.name, sha256=digest)
                await database.execute(statement)
                await migrate(database)
            return Database(server.database_url("earlier"))

        yield make


OLD = """
INSERT INTO account (id, username, name, webhook_secret) VALUES ('a', 'a', 'a', ''), ('b', 'b', 'b', '');
INSERT INTO model (id, account_id, owner, name, visibility, hardware) VALUES
    ('1', 'a', 'a', 'shell', 'public', 'cpu'), ('2', 'a', 'a', 'small', 'public', 'cpu-small'),
    ('3', 'b', 'b', 'shell', 'public', 'cpu');
INSERT INTO version (queue, id, model_id, cog_version, openapi_schema, files, config, streams, created_at)
    SELECT 'q' || m.id, repeat('0', 64), m.id, '', '{}', '[]', '{}', false, now() + m.id::int * interval '1 s'
    FROM model m"""


async def test_versions_from_before_ids_named_the_model_resolve_as_they_did(as_before):
    async with await as_before("0022_version_identity.sql", OLD) as database:

        async def found(account, owner=None, name=None):
            return (await find_runnable(database, account, owner, name, "0" * 64))["queue"]

        assert [await found("a"), await found("b"), await found("c")] == ["q1", "q3", "q1"]
        assert [await found("c", "a", "small"), await found("a", "b", "shell")] == ["q2", "q3"]
        assert await database.fetch("SELECT FROM version WHERE digest IS NOT NULL") == []
        assert (await database.value("SELECT count(*) FROM migration WHERE name LIKE '0022%'")) == 1


async def test_an_applied_file_that_was_edited_is_refused_by_its_name(as_before):
    async with await as_before("0028_boots_under_way.sql", "SELECT 1") as database:
        await migrate(database)  # nothing to do, and nothing to refuse
        await database.execute("UPDATE migration SET sha256 = repeat('0', 64) WHERE name = '0007_models.sql'")
        with pytest.raises(StartError, match=r"migration 0007_models\.sql is not the one that was applied"):
            await migrate(database)


async def test_an_edited_file_stops_the_migrations_that_follow(as_before):
    edited = "UPDATE migration SET sha256 = repeat('0', 64) WHERE name = '0001_foundation.sql'"
    with pytest.raises(StartError, match=r"0001_foundation\.sql"):
        await as_before("0028_boots_under_way.sql", edited)

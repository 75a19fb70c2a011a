"""The plans of hot statements: made while a table is small, they stay, and must be right when it is large."""

from itertools import pairwise

import asyncpg
import pytest

from tidemill.runtime.db import HOT_SETTINGS
from tidemill.runtime.predictions import acceptance, claims, ending, idempotency, progress, requeue
from tidemill.scheduler import store as scheduler_store
from tidemill.testing.servers import migrated

JOINED = {
    "end": ending.END,
    "claim": claims.CLAIM,
    "save": progress.SAVE,
    "release": requeue.RELEASE,
    "next attempt of a child": requeue.NEXT_ATTEMPT_OF_OWN,
    "next attempt of a worker": requeue.NEXT_ATTEMPT_OF_LOST,
}
BY_KEY = {**JOINED, "again": scheduler_store.AGAIN, "jobs": scheduler_store.JOBS}
ALL = {**BY_KEY, "accept": acceptance.INSERT, "accept once": idempotency.INSERT}
MANY = """
INSERT INTO prediction (id, account_id, model, version, queue, gateway, source, input, created_at)
SELECT lpad(n::text, 26, '0'), 'a', 'o/m', repeat('a', 64), 'q', 'g', 'api', '{}'::json, now()
FROM generate_series(1, 20000) n"""


@pytest.fixture(scope="module")
async def postgres(tmp_path_factory):
    async with migrated(tmp_path_factory.mktemp("hot-plans")) as server:
        yield server


@pytest.fixture(scope="module", params=["empty", "large"])
async def plan(postgres, request):
    """Return the generic plan of a statement, as on a connection with HOT_SETTINGS."""
    connection = await asyncpg.connect(postgres.url, server_settings=HOT_SETTINGS)
    await connection.execute("TRUNCATE prediction CASCADE")
    if request.param == "large":
        await connection.execute(MANY)
        await connection.execute("ANALYZE prediction")

    async def plan(sql):
        await connection.execute(f"PREPARE asked AS {sql}")
        count = await connection.fetchval(
            "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'asked'"
        )
        rows = await connection.fetch(f"EXPLAIN (COSTS OFF) EXECUTE asked ({', '.join(['NULL'] * count)})")
        await connection.execute("DEALLOCATE asked")
        return "\n".join(row[0] for row in rows)

    yield plan
    await connection.close()


@pytest.mark.parametrize("name", ALL)
async def test_no_statement_reads_a_whole_table(plan, name):
    assert "Seq Scan" not in await plan(ALL[name])


@pytest.mark.parametrize("name", BY_KEY)
async def test_predictions_are_found_by_their_ids(plan, name):
    lines = [line.strip() for line in (await plan(BY_KEY[name])).splitlines()]
    scans = [following for line, following in pairwise(lines) if "Scan" in line and line.endswith(" on prediction p")]
    assert scans == ["Index Cond: (id = ANY ($1))"]


@pytest.mark.parametrize("name", JOINED)
async def test_a_batch_takes_time_by_its_size_and_not_by_its_square(plan, name):
    text = await plan(JOINED[name])
    assert "Nested Loop" not in text
    assert "Hash Join" in text

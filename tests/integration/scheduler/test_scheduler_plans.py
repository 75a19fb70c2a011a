"""The statements of the sweep read what they need and no more, however large the table has become."""

import json

import asyncpg
import pytest

from tidemill.runtime.db import HOT_SETTINGS
from tidemill.scheduler import store


@pytest.fixture
async def large(config):
    """Rows of three hours, most of them ended, planned for before and after the statistics know of them.

    On a connection of its own: a busy machine takes longer for them than the pool gives a statement.
    """
    connection = await asyncpg.connect(config.database_url)
    await connection.execute(
        "INSERT INTO prediction "
        "(id, account_id, model, version, queue, gateway, input, status, accepted_at, created_at) "
        "SELECT lpad(n::text, 26, '0'), 'a', 'a/m', 'v', 'q', 'g', '{}', 'succeeded', at, at "
        "FROM generate_series(1, 60000) n, LATERAL (SELECT now() - make_interval(secs => 10800 - n * 0.18) AS at) t"
    )
    await connection.close()


async def nodes(config, settings, sql, *args):
    connection = await asyncpg.connect(config.database_url, server_settings=settings)
    try:
        text = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *args)
    finally:
        await connection.close()
    found = []

    def walk(node):
        found.append(node)
        for child in node.get("Plans", []):
            walk(child)

    walk(json.loads(text)[0]["Plan"])
    return found


@pytest.mark.parametrize("analyzed", [False, True])
async def test_a_window_is_read_by_its_own_index(config, database, large, analyzed):
    if analyzed:
        await database.execute("VACUUM ANALYZE prediction")
        await database.execute("SELECT brin_summarize_new_values('prediction_accepted')")
    until = await database.value("SELECT now() - interval '1 hour'")
    after = await database.value("SELECT now() - interval '1 hour 1 second'")
    found = await nodes(config, store.SCAN_SETTINGS, store.OPEN_IN_WINDOW, after, until)
    assert "prediction_accepted" in {node.get("Index Name") for node in found}
    assert not any(node["Node Type"] == "Seq Scan" and node["Relation Name"] == "prediction" for node in found)


async def test_new_ranges_are_summarized(database, large):
    lane = database.dedicated_connection(settings=store.SCAN_SETTINGS)
    await store.summarize(lane)
    assert await database.value(store.SUMMARIZE) == 0


async def test_a_vacuum_under_way_does_not_hold_the_sweep_up(database, large):
    lane = database.dedicated_connection(settings=store.SCAN_SETTINGS)
    async with database.transaction() as vacuum:
        await vacuum.execute("LOCK TABLE prediction IN SHARE UPDATE EXCLUSIVE MODE")
        await store.summarize(lane)
    await store.summarize(lane)
    assert await database.value(store.SUMMARIZE) == 0


@pytest.mark.parametrize("sql", [store.AGAIN, store.JOBS])
async def test_rows_are_looked_at_again_by_their_keys(config, database, large, sql):
    found = await nodes(config, HOT_SETTINGS, sql, ["0" * 25 + "1", "0" * 25 + "2"])
    reads = [node for node in found if node.get("Relation Name") == "prediction"]
    assert reads
    assert all(node.get("Index Name") == "prediction_pkey" and "id" in node["Index Cond"] for node in reads)

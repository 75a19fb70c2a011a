"""What became of a version's instances: for the model's owner alone, the newest first."""

import json
from datetime import UTC, datetime

from tidemill.contracts.ids import new_id
from tidemill.testing import rows


async def made(gateway, account):
    """A public model with one version and two boots of it: the path of the version."""
    database = gateway.parts.database
    model = await rows.model(database, account.id, owner=account.username, published_at=datetime.now(UTC))
    queue = await rows.version(database, model)
    for instance, ready, error, phases in (("i1", None, "no weights", None), ("i2", "now", None, {"total": 0.5})):
        await database.execute(
            "INSERT INTO boot (instance, version_queue, began_at, ready_at, error, phases, logs) VALUES"
            " ($1, $2, clock_timestamp(), CASE WHEN $3::text IS NULL THEN NULL ELSE now() END, $4, $5::text::json, $6)",
            *(f"{instance}-{queue}", queue, ready, error, None if phases is None else json.dumps(phases), "set up\n"),
        )
    return f"/models/{account.username}/{model}/versions/{rows.version_id(queue)}"


async def test_the_owner_sees_how_instances_came_up(gateway, alice):
    path = await made(gateway, alice)
    status, boots = await gateway.ask("GET", f"{path}/boots", alice)
    assert status == 200
    assert [boot["instance"][:2] for boot in boots] == ["i2", "i1"]
    assert [boot["error"] for boot in boots] == [None, "no weights"]
    assert [boot["phases"] for boot in boots] == [{"total": 0.5}, None]
    assert boots[0]["ready_at"].endswith("Z")
    assert boots[1]["ready_at"] is None
    assert [boot["status"] for boot in boots] == ["ready", "failed"]
    assert {boot["logs"] for boot in boots} == {"set up\n"}


async def test_who_may_run_a_model_sees_nothing_of_it(gateway, alice, mallory):
    path = await made(gateway, alice)
    assert (await gateway.ask("GET", path, mallory))[0] == 200
    assert (await gateway.ask("GET", f"{path}/boots", mallory))[0] in {403, 404}
    assert (await gateway.ask("GET", f"{path[:-64]}{'0' * 64}/boots", alice))[0] == 404


async def under_way(gateway, queue, worker):
    await gateway.parts.database.execute(
        "INSERT INTO boot (instance, version_queue, queue, worker, began_at, logs) VALUES ($1, $2, $2, $3, now(), $4)",
        f"i3-{queue}",
        queue,
        worker,
        "loading\n",
    )


async def test_a_boot_under_way_shows_its_log_until_its_worker_is_lost(gateway, alice):
    path, worker = await made(gateway, alice), new_id()
    queue = await gateway.parts.database.value("SELECT version_queue FROM boot ORDER BY began_at DESC LIMIT 1")
    await rows.worker(gateway.parts.database, id=worker, lease_s=60)
    await under_way(gateway, queue, worker)
    first = (await gateway.ask("GET", f"{path}/boots", alice))[1][0]
    assert (first["status"], first["ready_at"], first["error"], first["logs"]) == ("booting", None, None, "loading\n")
    await gateway.parts.database.execute("DELETE FROM worker WHERE id = $1", worker)
    first = (await gateway.ask("GET", f"{path}/boots", alice))[1][0]
    assert (first["status"], first["error"]) == ("failed", "The worker was lost while it booted.")

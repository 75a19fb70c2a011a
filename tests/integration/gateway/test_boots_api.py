"""What became of a version's instances: for the model's owner alone, the newest first."""

import json
from datetime import UTC, datetime

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
    assert {boot["logs"] for boot in boots} == {"set up\n"}


async def test_who_may_run_a_model_sees_nothing_of_it(gateway, alice, mallory):
    path = await made(gateway, alice)
    assert (await gateway.ask("GET", path, mallory))[0] == 200
    assert (await gateway.ask("GET", f"{path}/boots", mallory))[0] in {403, 404}
    assert (await gateway.ask("GET", f"{path[:-64]}{'0' * 64}/boots", alice))[0] == 404

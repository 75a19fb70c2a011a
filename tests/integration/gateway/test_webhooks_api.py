"""Webhook secrets, deliveries and endpoints over HTTP; the dispatcher's part is done by hand."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from tidemill.contracts.ids import new_id
from tidemill.testing import rows


async def call(gateway, account, method, path, **arguments):
    async with gateway.http.request(method, f"{gateway.url}/v1{path}", headers=account.headers, **arguments) as answer:
        return answer.status, await answer.json(content_type=None)


async def get(gateway, account, path):
    return await call(gateway, account, "GET", path)


async def post(gateway, account, path):
    return await call(gateway, account, "POST", path)


@pytest.fixture
def delivery(gateway):
    """Makes a prediction that has ended, and its delivery."""

    async def make(account, *, url="https://hook.example/a?x=1", event="completed", status="delivered", **columns):
        database = gateway.parts.database
        ended = {"output": '"x"', "status": "succeeded", "completed_at": datetime.now(UTC)}
        prediction = await rows.prediction(database, account_id=account.id, webhook=url, **ended)
        tried = {"url": url, "event": event, "status": status, "tries": 1, "body": "{}", **columns}
        return await rows.delivery(database, account.id, prediction, **tried), prediction

    return make


@pytest.fixture
def endpoint(gateway):
    async def make(account, host="hook.example", path="", *, reason=None, open_s=None):
        at = datetime.now(UTC)
        return await rows.endpoint(
            gateway.parts.database,
            account.id,
            host=host,
            path=path,
            failures=7,
            disabled_at=at if reason else None,
            disabled_reason=reason,
            open_until=open_s and at + timedelta(seconds=open_s),
        )

    return make


async def test_a_secret_is_replaced_with_an_overlap(gateway, alice, connection):
    _, first = await get(gateway, alice, "/webhooks/default/secret")
    status, second = await post(gateway, alice, "/webhooks/default/secret/rotate")
    assert status == 200
    assert second["previous_sign_until"].endswith("Z")
    assert second["key"] not in {first["key"], None}
    assert (await get(gateway, alice, "/webhooks/default/secret"))[1] == {"key": second["key"]}
    before = await connection.fetch("SELECT secret FROM webhook_secret_before WHERE account_id = $1", alice.id)
    assert [row["secret"] for row in before] == [first["key"]]


async def test_a_leaked_secret_ends_at_once_with_all_before_it(gateway, alice, connection):
    await post(gateway, alice, "/webhooks/default/secret/rotate")
    status, answer = await post(gateway, alice, "/webhooks/default/secret/rotate?overlap_s=0")
    assert (status, answer["previous_sign_until"]) == (200, None)
    count = await connection.fetchval("SELECT count(*) FROM webhook_secret_before WHERE account_id = $1", alice.id)
    assert count == 0


async def test_no_more_than_five_secrets_sign(gateway, alice):
    statuses = [(await post(gateway, alice, "/webhooks/default/secret/rotate"))[0] for _ in range(5)]
    assert statuses == [200, 200, 200, 200, 409]
    assert (await post(gateway, alice, "/webhooks/default/secret/rotate?overlap_s=-1"))[0] == 400
    assert (await post(gateway, alice, "/webhooks/default/secret/rotate?overlap_s=day"))[0] == 400


async def test_secrets_that_are_replaced_at_the_same_moment_are_all_known(gateway, alice, connection):
    rotations = [post(gateway, alice, "/webhooks/default/secret/rotate") for _ in range(3)]
    keys = [answer["key"] for _, answer in await asyncio.gather(*rotations)]
    kept = await connection.fetch("SELECT secret FROM webhook_secret_before WHERE account_id = $1", alice.id)
    _, current = await get(gateway, alice, "/webhooks/default/secret")
    assert set(keys) <= {row["secret"] for row in kept} | {current["key"]}
    assert len(kept) == 3


async def test_deliveries_are_listed_with_filters(gateway, alice, mallory, delivery, endpoint):
    first, prediction = await delivery(alice)
    second, _ = await delivery(alice, url="http://Other.example:8080", status="failed")
    await delivery(mallory)
    place = await endpoint(alice, "other.example:8080")
    listed = (await get(gateway, alice, "/webhooks/deliveries"))[1]
    assert [each["id"] for each in listed["results"]] == [second, first]
    for query, expected in (
        (f"prediction={prediction}", [first]),
        ("status=failed", [second]),
        (f"endpoint={place}", [second]),
        (f"endpoint={new_id()}", []),
        (f"status=delivered&prediction={prediction}", [first]),
    ):
        page = (await get(gateway, alice, f"/webhooks/deliveries?{query}"))[1]
        assert [each["id"] for each in page["results"]] == expected, query
    assert (await get(gateway, mallory, f"/webhooks/deliveries?endpoint={place}"))[1]["results"] == []
    for query in ("status=lost", "prediction=x", "endpoint=", "cursor=x"):
        assert (await get(gateway, alice, f"/webhooks/deliveries?{query}"))[0] == 400


async def test_pages_of_deliveries_keep_their_filters(gateway, alice, delivery):
    made = [(await delivery(alice))[0] for _ in range(101)]
    _, page = await get(gateway, alice, "/webhooks/deliveries?status=delivered")
    assert len(page["results"]) == 100
    assert "status=delivered" in page["next"]
    _, rest = await get(gateway, alice, "/" + page["next"].split("/v1/", 1)[1])
    assert [each["id"] for each in rest["results"]] == made[:1]


async def test_one_delivery_with_its_tries_for_as_long_as_the_data_is_kept(gateway, alice, delivery, connection):
    tries = [
        {"at": "2026-11-23T09:00:00.000Z", "duration_s": 0.2, "status": 500, "error": "status 500", "response": "no"}
    ]
    identifier, prediction = await delivery(alice, status="pending", log=json.dumps(tries), body='{"id":"x"}')
    status, answer = await get(gateway, alice, f"/webhooks/deliveries/{identifier}")
    assert status == 200
    assert (answer["log"], answer["body"]) == (tries, '{"id":"x"}')
    assert answer["next_try_at"]
    await connection.execute("UPDATE prediction SET data_removed = true WHERE id = $1", prediction)
    _, answer = await get(gateway, alice, f"/webhooks/deliveries/{identifier}")
    assert answer["log"] == [{**tries[0], "response": None}]
    assert answer["body"] is None


async def test_a_delivery_is_asked_for_again(gateway, alice, delivery, connection):
    identifier, _ = await delivery(alice, status="failed", tries=10)
    status, answer = await post(gateway, alice, f"/webhooks/deliveries/{identifier}/redeliver")
    assert (status, answer["status"], answer["id"]) == (202, "pending", identifier)
    assert (await post(gateway, alice, f"/webhooks/deliveries/{identifier}/redeliver"))[0] == 202
    row = await connection.fetchrow("SELECT * FROM webhook_delivery WHERE id = $1", identifier)
    assert (row["redelivery"], row["tries"], row["completed_at"]) == (True, 10, None)


async def test_what_waits_anyway_is_only_brought_forward(gateway, alice, delivery, connection):
    identifier, _ = await delivery(alice, status="pending")
    later = "UPDATE webhook_delivery SET next_attempt_at = now() + interval '5 hours' WHERE id = $1"
    await connection.execute(later, identifier)
    assert (await post(gateway, alice, f"/webhooks/deliveries/{identifier}/redeliver"))[0] == 202
    row = await connection.fetchrow(
        "SELECT redelivery, next_attempt_at <= now() AS due FROM webhook_delivery WHERE id = $1", identifier
    )
    assert tuple(row) == (False, True)


async def test_what_cannot_be_delivered_again(gateway, alice, delivery, endpoint):
    progress, _ = await delivery(alice, event="output")
    often, _ = await delivery(alice, status="failed", tries=50)
    deleted, prediction = await delivery(alice)
    assert (await call(gateway, alice, "DELETE", f"/predictions/{prediction}"))[0] == 204
    shut, _ = await delivery(alice, url="https://gone.example/x", status="skipped", tries=0)
    place = await endpoint(alice, "gone.example", "/x", reason="it answered 410 Gone")
    for identifier, words in (
        (progress, "Only the end"),
        (often, "50 times"),
        (deleted, "was deleted"),
        (shut, "disabled (it answered 410 Gone)"),
    ):
        status, answer = await post(gateway, alice, f"/webhooks/deliveries/{identifier}/redeliver")
        assert status == 409
        assert words in answer["detail"]
    assert (await post(gateway, alice, f"/webhooks/endpoints/{place}/enable"))[0] == 200
    assert (await post(gateway, alice, f"/webhooks/deliveries/{shut}/redeliver"))[0] == 202


async def test_endpoints_say_how_they_fare(gateway, alice, mallory, endpoint):
    fine = await endpoint(alice, "fine.example")
    paused = await endpoint(alice, "paused.example", open_s=600.0)
    probed = await endpoint(alice, "probed.example", open_s=-1.0)
    disabled = await endpoint(alice, "gone.example", "/x", reason="it answered 410 Gone")
    await endpoint(mallory, "fine.example")
    listed = (await get(gateway, alice, "/webhooks/endpoints"))[1]["results"]
    assert [(each["id"], each["status"]) for each in listed] == [
        (disabled, "disabled"),
        (probed, "active"),
        (paused, "paused"),
        (fine, "active"),
    ]
    assert (listed[0]["host"], listed[0]["path"], listed[3]["path"]) == ("gone.example", "/x", None)
    assert listed[2]["paused_until"]
    for identifier in (paused, disabled):
        for _ in range(2):
            status, answer = await post(gateway, alice, f"/webhooks/endpoints/{identifier}/enable")
            assert (status, answer["status"], answer["failures"]) == (200, "active", 0)


async def test_enabling_sends_what_waited(gateway, alice, delivery, endpoint, connection):
    identifier, _ = await delivery(alice, status="pending")
    later = "UPDATE webhook_delivery SET next_attempt_at = now() + interval '5 minutes' WHERE id = $1"
    await connection.execute(later, identifier)
    place = await endpoint(alice, open_s=300.0)
    await post(gateway, alice, f"/webhooks/endpoints/{place}/enable")
    due = await connection.fetchval("SELECT next_attempt_at <= now() FROM webhook_delivery WHERE id = $1", identifier)
    assert due


async def test_what_is_somebody_elses_is_not_there(gateway, alice, mallory, delivery, endpoint, connection):
    identifier, _ = await delivery(alice)
    place = await endpoint(alice, reason="no")
    missing = f"msg_{new_id()}"
    for method, path in (
        ("GET", "/webhooks/deliveries/{}"),
        ("POST", "/webhooks/deliveries/{}/redeliver"),
        ("POST", "/webhooks/endpoints/{}/enable"),
    ):
        for foreign, absent in ((identifier, missing), (place, new_id())):
            theirs = await call(gateway, mallory, method, path.format(foreign))
            assert theirs == await call(gateway, mallory, method, path.format(absent))
            assert theirs[0] == 404
    for odd in ("x", "msg_", "%00", "msg_" + "u" * 26):
        assert (await get(gateway, alice, f"/webhooks/deliveries/{odd}"))[0] == 404
    assert await connection.fetchval("SELECT disabled_at IS NOT NULL FROM webhook_endpoint WHERE id = $1", place)
    assert await connection.fetchval("SELECT status FROM webhook_delivery WHERE id = $1", identifier) == "delivered"

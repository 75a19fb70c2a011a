"""Predictions that are shared, unshared and deleted, as their owner and as others see them."""

import asyncio
import io
import json

import pytest

from tidemill.contracts import subjects
from tidemill.contracts.ids import new_id
from tidemill.testing import rows


@pytest.fixture
def ask(gateway):
    async def send(method, path, account=None, **rest):
        headers = {**(account.headers if account else {}), **rest.pop("headers", {})}
        async with gateway.http.request(method, f"{gateway.url}/v1{path}", headers=headers, **rest) as response:
            body = await response.read()
            return response.status, json.loads(body) if body else None

    return send


@pytest.fixture
def make(ask, echo, finish):
    async def create(account, *, done=True, webhook="https://hook.example/secret", output="hello", **given):
        body = {"version": echo, "input": {"text": "a", "key": "hunter2", **given}, "webhook": webhook}
        status, prediction = await ask("POST", "/predictions", account, json=body)
        assert status == 201, prediction
        if done:
            await finish(prediction["id"], output)
        return prediction["id"]

    return create


async def test_a_shared_prediction_is_everybodys_to_read(ask, alice, mallory, make):
    path = f"/predictions/{await make(alice)}"
    own = (await ask("GET", path, alice))[1]
    assert "shared_at" not in own
    assert own["data_deleted_at"] > own["completed_at"]
    assert (await ask("GET", path, mallory))[0] == 404
    assert (await ask("GET", path))[0] == 401
    for _ in range(2):
        status, shared = await ask("POST", f"{path}/share", alice)
        assert (status, "shared_at" in shared, "data_deleted_at" in shared) == (200, True, False)
    for reader in (mallory, None):
        status, seen = await ask("GET", path, reader)
        assert (status, seen["output"], seen["logs"]) == (200, "hello", "log\n")
        assert seen["input"] == {"text": "a", "key": "[redacted]"}
        assert not {"webhook", "webhook_events_filter", "deployment"} & seen.keys()
        assert "stream" not in seen["urls"]
    assert (await ask("GET", path, alice))[1]["input"]["key"] == "[redacted]"
    assert (await ask("GET", path, headers={"Authorization": "Bearer r8_wrong"}))[0] == 401
    for _ in range(2):
        assert await ask("DELETE", f"{path}/share", alice) == (204, None)
    assert ((await ask("GET", path, mallory))[0], (await ask("GET", path))[0]) == (404, 401)
    assert (await ask("GET", path, alice))[1]["data_deleted_at"] == own["data_deleted_at"]


async def test_only_the_owner_shares_unshares_cancels_and_deletes(ask, alice, mallory, make):
    path = f"/predictions/{await make(alice, done=False)}"
    await ask("POST", f"{path}/share", alice)
    for method, rest in (("POST", "/share"), ("DELETE", "/share"), ("DELETE", ""), ("POST", "/cancel")):
        assert (await ask(method, f"{path}{rest}", mallory))[0] == 404
        assert (await ask(method, f"/predictions/{new_id()}{rest}", mallory))[0] == 404
        assert (await ask(method, f"{path}{rest}"))[0] == 401
    assert (await ask("GET", path, mallory))[1]["status"] == "starting"


async def test_what_has_lost_its_data_cannot_be_shared(gateway, ask, alice, make):
    prediction = await make(alice)
    change = "UPDATE prediction SET completed_at = completed_at - interval '1 hour' WHERE id = $1"
    await gateway.parts.database.execute(change, prediction)
    assert (await ask("POST", f"/predictions/{prediction}/share", alice))[0] == 409
    await gateway.parts.database.execute("UPDATE prediction SET data_removed = true WHERE id = $1", prediction)
    assert (await ask("POST", f"/predictions/{prediction}/share", alice))[0] == 409


async def test_uploads_in_a_shared_input_stay_with_it(gateway, ask, alice, mallory, make):
    file = (await ask("POST", "/files", alice, data={"content": io.BytesIO(b"bytes")}))[1]
    prediction = await make(alice, text=file["urls"]["get"], done=False)
    path = f"/predictions/{prediction}"
    assert (await ask("POST", f"{path}/share", alice))[1]["input"]["text"] == file["urls"]["get"]
    await gateway.parts.database.execute(
        "UPDATE prediction SET status = 'succeeded', completed_at = now() WHERE id = $1", prediction
    )
    for _ in range(2):
        assert (await ask("POST", f"{path}/share", alice))[0] == 200
    await ask("DELETE", f"/files/{file['id']}", alice)
    url = (await ask("GET", path, mallory))[1]["input"]["text"]
    async with gateway.http.get(gateway.url + "/v1" + url.partition("/v1")[2]) as response:
        assert (response.status, await response.read()) == (200, b"bytes")
    gone = await make(alice, text=file["urls"]["get"])
    assert (await ask("POST", f"/predictions/{gone}/share", alice))[0] == 200


async def test_an_input_of_a_version_that_is_gone_is_not_shown(gateway, ask, alice, mallory, make):
    prediction = await make(alice)
    await ask("POST", f"/predictions/{prediction}/share", alice)
    await gateway.parts.database.execute("UPDATE prediction SET version = 'gone' WHERE id = $1", prediction)
    assert (await ask("GET", f"/predictions/{prediction}", mallory))[1]["input"] == {}


async def test_an_example_of_a_public_model_can_be_read_and_not_deleted(gateway, ask, alice, mallory, echo, make):
    prediction = await make(alice)
    database, (owner, name) = gateway.parts.database, echo.split("/")
    model = await database.value("SELECT id FROM model WHERE owner = $1 AND name = $2", owner, name)
    await rows.insert(database, "example", model_id=model, prediction_id=prediction)
    for reader in (mallory, None):
        status, seen = await ask("GET", f"/predictions/{prediction}", reader)
        assert (status, seen["input"]["key"], "data_deleted_at" in seen) == (200, "[redacted]", False)
    assert (await ask("DELETE", f"/predictions/{prediction}", alice))[0] == 409
    await database.execute("UPDATE model SET visibility = 'private' WHERE id = $1", model)
    try:
        assert (await ask("GET", f"/predictions/{prediction}", mallory))[0] == 404
        assert (await ask("GET", f"/predictions/{prediction}"))[0] == 401
    finally:
        await database.execute("UPDATE model SET visibility = 'public' WHERE id = $1", model)
        await database.execute("DELETE FROM example WHERE prediction_id = $1", prediction)
    assert (await ask("DELETE", f"/predictions/{prediction}", alice))[0] == 204


async def test_a_deleted_prediction_leaves_what_bills_need(gateway, ask, alice, mallory, make):
    prediction = await make(alice)
    parts = gateway.parts
    kept = await make(alice)
    for each in (prediction, kept):
        await parts.objects.put(f"outputs/{each}/0/out.png", b"png", "image/png")
        await parts.bus.jetstream.publish(subjects.output(each), b"{}")
    await ask("POST", f"/predictions/{prediction}/share", alice)
    assert await ask("DELETE", f"/predictions/{prediction}", alice) == (204, None)
    for path, method in ((f"/predictions/{prediction}", "GET"), (f"/predictions/{prediction}", "DELETE")):
        for account in (alice, mallory):
            assert (await ask(method, path, account))[0] == 404
    assert (await ask("POST", f"/predictions/{prediction}/share", alice))[0] == 404
    assert [each["id"] for each in (await ask("GET", "/predictions", alice))[1]["results"]] == [kept]
    row = await parts.database.row("SELECT * FROM prediction WHERE id = $1", prediction)
    assert (row["input"], row["output"], row["logs"], row["webhook"], row["data_removed"]) == (
        "{}",
        None,
        None,
        None,
        True,
    )
    assert json.loads(row["metrics"])["predict_time"] > 0
    delivery = await parts.database.row("SELECT * FROM webhook_delivery WHERE prediction_id = $1", prediction)
    assert (delivery["status"], delivery["body"]) == ("failed", None)
    assert {item.object_name.split("/")[1] for item in await parts.objects.list("outputs/")} >= {kept}
    assert await parts.objects.list(f"outputs/{prediction}/") == []
    assert await messages(parts, subjects.output(prediction)) == []
    assert len(await messages(parts, subjects.output(kept))) == 1
    events = await messages(parts, subjects.events_of(alice.id, "prediction"), subjects.PREDICTIONS.name)
    assert {event["id"] for event in events} == {kept}


async def messages(parts, subject, stream=subjects.OUTPUT.name):
    info = await parts.bus.jetstream.stream_info(stream, subjects_filter=subject)
    count = sum((info.state.subjects or {}).values())
    if not count:
        return []
    subscription = await parts.bus.jetstream.subscribe(subject, stream=stream, ordered_consumer=True)
    found = [json.loads((await subscription.next_msg(timeout=60)).data) for _ in range(count)]
    await subscription.unsubscribe()
    return found


async def test_deleting_an_open_prediction_cancels_it(gateway, ask, alice, make):
    prediction = await make(alice, done=False)
    assert (await ask("DELETE", f"/predictions/{prediction}", alice))[0] == 204
    row = await gateway.parts.database.row("SELECT status, deleted_at FROM prediction WHERE id = $1", prediction)
    assert (row["status"], row["deleted_at"] is not None) == ("canceled", True)


async def test_twins_delete_once(ask, alice, make):
    prediction = await make(alice)
    answers = await asyncio.gather(*(ask("DELETE", f"/predictions/{prediction}", alice) for _ in range(5)))
    assert {status for status, _ in answers} <= {204, 404}
    assert 204 in {status for status, _ in answers}


async def test_a_key_whose_prediction_was_deleted_makes_no_other(ask, alice, echo):
    body, headers = {"version": echo, "input": {"text": "a"}}, {"Idempotency-Key": "k"}
    prediction = (await ask("POST", "/predictions", alice, json=body, headers=headers))[1]["id"]
    await ask("DELETE", f"/predictions/{prediction}", alice)
    assert (await ask("POST", "/predictions", alice, json=body, headers=headers))[0] == 409


async def test_an_account_may_want_its_data_deleted_sooner(gateway, ask, alice, make):
    await gateway.parts.database.execute("UPDATE account SET retention_s = 60 WHERE id = $1", alice.id)
    path = f"/predictions/{await make(alice)}"
    seen = (await ask("GET", path, alice))[1]
    assert seen["data_deleted_at"][:16] != seen["completed_at"][:16]
    assert seen["data_deleted_at"][16:] == seen["completed_at"][16:]


@pytest.mark.parametrize(
    "webhook",
    [
        "https://a\u0000b.example/", "https://", "ftp://a.example/", "https://a b.example", "http://[bad/",
        "http://x:port/", "http://x:99999/", "https://user:password@x.example/",
    ],
)  # fmt: skip
async def test_a_webhook_that_is_no_url_fails_its_own_request_alone(ask, alice, mallory, echo, webhook):
    body = {"version": echo, "input": {"text": "a"}}
    sent = [
        ask("POST", "/predictions", alice, json={**body, "webhook": webhook}),
        ask("POST", "/predictions", mallory, json=body),
    ]
    assert [status for status, _ in await asyncio.gather(*sent)] == [422, 201]

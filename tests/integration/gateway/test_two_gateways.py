"""Two gateways side by side, behind one address: whatever began at one goes on at the other."""

import asyncio
import hashlib
import time

import aiohttp
import msgspec
import pytest

from tidemill.contracts.ids import new_id

WITHIN_S = 300


@pytest.fixture
async def other(servers, start_gateway):
    async with start_gateway(msgspec.structs.replace(servers, token_cache_s=0.5)) as gateway:
        yield gateway


async def ask(gateway, account, method, path, status=200, **rest):
    headers = {**account.headers, **rest.pop("headers", {})}
    async with gateway.http.request(method, f"{gateway.url}/v1{path}", headers=headers, **rest) as response:
        assert response.status == status, await response.text()
        return await response.json() if response.content_type.endswith("json") else await response.read()


async def test_a_cursor_goes_on_at_the_other(gateway, other, alice):
    database = gateway.parts.database
    ids = [new_id() for _ in range(205)]
    await database.execute(
        "INSERT INTO prediction (id, account_id, model, version, queue, gateway, input, created_at) "
        "SELECT unnest($1::text[]), $2, 'a/b', 'v', 'q', 'g', '{}', now()",
        *(ids, alice.id),
    )
    seen, path, turn = [], "/predictions", 0
    while path:
        page = await ask((gateway, other)[turn % 2], alice, "GET", path)
        seen += [each["id"] for each in page["results"]]
        path = page["next"] and page["next"].partition("/v1")[2]
        turn += 1
    assert seen == sorted(ids, reverse=True)
    assert turn == 3
    back = await ask(gateway, alice, "GET", page["previous"].partition("/v1")[2])
    assert [each["id"] for each in back["results"]] == seen[100:200]


async def test_a_wait_ends_wherever_the_prediction_is_seen_to_end(gateway, other, alice, echo, finish):
    """The worker tells the gateway that accepted it; whoever joins at another looks at the row."""
    key = {"Prefer": "wait=30", "Idempotency-Key": new_id()}
    body = {"input": {"text": "x"}}

    def waiting(at):
        return asyncio.create_task(ask(at, alice, "POST", f"/models/{echo}/predictions", 201, json=body, headers=key))

    first = waiting(gateway)
    async with asyncio.timeout(WITHIN_S):
        while not (listed := await ask(other, alice, "GET", "/predictions"))["results"]:
            await asyncio.sleep(0.02)
    joined = waiting(other)
    (prediction,) = listed["results"]
    await finish(prediction["id"])
    for answer in await asyncio.wait_for(asyncio.gather(first, joined), WITHIN_S):
        assert (answer["id"], answer["status"], answer["output"]) == (prediction["id"], "succeeded", "done")


async def test_a_prediction_made_at_one_is_canceled_at_the_other(gateway, other, alice, echo):
    made = await ask(gateway, alice, "POST", f"/models/{echo}/predictions", 201, json={"input": {"text": "x"}})
    canceled = await ask(other, alice, "POST", f"/predictions/{made['id']}/cancel")
    assert canceled["status"] == "canceled"
    assert (await ask(gateway, alice, "GET", f"/predictions/{made['id']}"))["status"] == "canceled"


async def test_a_file_uploaded_at_one_is_read_and_deleted_at_the_other(gateway, other, alice):
    form = aiohttp.FormData()
    form.add_field("content", b"hello", filename="a.txt")
    made = await ask(gateway, alice, "POST", "/files", 201, data=form)
    there = await ask(other, alice, "GET", f"/files/{made['id']}")
    assert {**there, "urls": {}} == {**made, "urls": {}}
    download = made["urls"]["download"].partition("/v1")[2]
    async with other.http.get(f"{other.url}/v1{download}") as response:
        content = await response.read()
    assert hashlib.md5(content).hexdigest() == made["etag"] == hashlib.md5(b"hello").hexdigest()
    await ask(other, alice, "DELETE", f"/files/{made['id']}", 204)
    await ask(gateway, alice, "GET", f"/files/{made['id']}", 404)


async def test_a_token_revoked_at_one_ends_at_the_other_within_its_cache_time(gateway, other, alice):
    made = await ask(gateway, alice, "POST", "/tokens", 201, json={"name": "short"})
    bearer = alice._replace(headers={"Authorization": f"Bearer {made['token']}"})
    await ask(other, bearer, "GET", "/account")
    await ask(gateway, alice, "DELETE", f"/tokens/{made['id']}", 204)
    revoked = time.monotonic()
    await ask(gateway, bearer, "GET", "/account", 401)
    status = 200
    while status != 401:
        async with other.http.get(f"{other.url}/v1/account", headers=bearer.headers) as response:
            status = response.status
        assert time.monotonic() - revoked < WITHIN_S
        await asyncio.sleep(0.05)

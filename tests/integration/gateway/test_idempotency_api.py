"""Creates that are sent more than once: by key, and by the retries of the official client."""

import asyncio

import pytest

from tidemill.contracts.ids import new_id
from tidemill.gateway.predictions.accept import Acceptor
from tidemill.gateway.predictions.idempotent_acceptor import IdempotentAcceptor


@pytest.fixture
def create(gateway, echo):
    async def send(account, text="a", path="/v1/predictions", *, extra=None, version=None, **headers):
        body = {"version": version or echo, "input": {"text": text}, **(extra or {})}
        if "/models/" in path:
            del body["version"]
        headers = {**account.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        async with gateway.http.post(f"{gateway.url}{path}", json=body, headers=headers) as response:
            return response.status, await response.json(content_type=None), response.headers

    return send


async def count(gateway, account):
    return await gateway.parts.database.value("SELECT count(*) FROM prediction WHERE account_id = $1", account.id)


async def test_the_same_key_answers_the_first_prediction_as_it_is_now(gateway, alice, create, finish):
    status, first, headers = await create(alice, Idempotency_Key="k")
    assert (status, "Idempotent-Replayed" in headers) == (201, False)
    status, again, headers = await create(alice, Idempotency_Key="k")
    assert (status, again["id"], headers["Idempotent-Replayed"]) == (201, first["id"], "true")
    assert headers["Location"].endswith(first["id"])
    await finish(first["id"], "hello")
    assert (await create(alice, Idempotency_Key="k"))[1]["output"] == "hello"
    assert await count(gateway, alice) == 1


async def test_another_body_with_the_key_is_refused(gateway, alice, create):
    await create(alice, Idempotency_Key="k")
    status, problem, _ = await create(alice, "b", Idempotency_Key="k")
    assert (status, "Idempotency-Key" in problem["detail"]) == (422, True)
    assert await count(gateway, alice) == 1


async def test_a_key_counts_within_its_account_and_its_route(gateway, alice, mallory, create, echo):
    _, first, _ = await create(alice, Idempotency_Key="k")
    assert (await create(mallory, Idempotency_Key="k"))[1]["id"] != first["id"]
    assert (await create(alice, path="/v1/v1/predictions/", Idempotency_Key="k"))[1]["id"] == first["id"]
    assert (await create(alice, path=f"/models/{echo}/predictions", Idempotency_Key="k"))[0] == 422


@pytest.mark.parametrize("key", ["", "k" * 256, "\u00e9"])
async def test_odd_keys_are_refused(alice, create, key):
    assert (await create(alice, Idempotency_Key=key))[0] == 400


async def test_twins_at_two_gateways_make_one_prediction(gateway, alice, create, monkeypatch):
    parts = gateway.parts
    other = Acceptor(parts.database.dedicated_connection(), parts.bus, new_id(), 5)
    twins = [
        parts.idempotent_acceptor,
        IdempotentAcceptor(parts.database, parts.database.dedicated_connection(), other, 5),
    ]
    chosen = iter(range(1000))
    monkeypatch.setattr(type(parts), "once", property(lambda _: twins[next(chosen) % 2]), raising=False)
    for n in range(5):
        answers = await asyncio.gather(*(create(alice, Idempotency_Key=f"twin {n}") for _ in range(8)))
        assert {status for status, _, _ in answers} == {201}
        assert len({prediction["id"] for _, prediction, _ in answers}) == 1
        assert sum("Idempotent-Replayed" in headers for _, _, headers in answers) == 7
    assert await count(gateway, alice) == 5


async def test_many_keys_in_any_order_at_two_gateways(gateway, alice, create, monkeypatch):
    parts = gateway.parts
    twins = [
        parts.idempotent_acceptor,
        IdempotentAcceptor(parts.database, parts.database.dedicated_connection(), parts.acceptor, 5),
    ]
    chosen = iter(range(1000))
    monkeypatch.setattr(type(parts), "once", property(lambda _: twins[next(chosen) % 2]), raising=False)
    keys = [f"k{n}" for n in range(30)]
    answers = await asyncio.gather(*(create(alice, Idempotency_Key=key) for key in [*keys, *reversed(keys)]))
    assert {status for status, _, _ in answers} == {201}
    assert await count(gateway, alice) == 30


async def test_an_expired_key_is_free(gateway, alice, create):
    _, first, _ = await create(alice, Idempotency_Key="k")
    await gateway.parts.database.execute(
        "UPDATE idempotency SET expires_at = now() - interval '1 s' WHERE account_id = $1", alice.id
    )
    status, second, headers = await create(alice, "other", Idempotency_Key="k")
    assert (status, second["id"] != first["id"], "Idempotent-Replayed" in headers) == (201, True, False)


async def test_a_wait_joins_the_first_prediction(gateway, alice, create, finish):
    waiting = [asyncio.create_task(create(alice, Idempotency_Key="k", Prefer="wait")) for _ in range(3)]
    while not (ids := await gateway.parts.database.fetch("SELECT id FROM prediction WHERE account_id = $1", alice.id)):
        await asyncio.sleep(0.02)
    await finish(ids[0]["id"], "joined")
    answers = await asyncio.gather(*waiting)
    assert [(prediction["status"], prediction["output"]) for _, prediction, _ in answers] == [
        ("succeeded", "joined")
    ] * 3
    assert {headers["Preference-Applied"] for _, _, headers in answers} == {"wait"}


async def test_a_wait_that_joins_a_running_prediction_and_runs_out_says_starting(gateway, alice, create):
    _, first, _ = await create(alice, Idempotency_Key="k")
    await gateway.parts.database.execute(
        "UPDATE prediction SET status = 'processing', output = '1' WHERE id = $1", first["id"]
    )
    _, joined, headers = await create(alice, Idempotency_Key="k", Prefer="wait=0.1")
    assert (joined["status"], joined["output"], headers["Preference-Applied"]) == ("starting", None, "wait=0.1")
    _, seen, _ = await create(alice, Idempotency_Key="k")
    assert (seen["status"], seen["output"]) == ("processing", 1)


async def test_a_blind_retry_joins_the_prediction_of_the_request_before(gateway, alice, mallory, create):
    _, first, _ = await create(alice, x_stainless_retry_count="0")
    for retries in ("1", "2"):
        _, joined, headers = await create(alice, x_stainless_retry_count=retries)
        assert (joined["id"], headers["Idempotent-Replayed"]) == (first["id"], "true")
    assert (await create(alice, "other", x_stainless_retry_count="1"))[1]["id"] != first["id"]
    assert (await create(mallory, x_stainless_retry_count="1"))[1]["id"] != first["id"]
    assert (await create(alice, x_stainless_retry_count="0"))[1]["id"] != first["id"]
    assert await count(gateway, alice) == 3


async def test_identical_requests_side_by_side_join_one_each(gateway, alice, create):
    made = {(await create(alice, x_stainless_retry_count="0"))[1]["id"] for _ in range(4)}
    for retries in ("1", "2"):
        answers = await asyncio.gather(*(create(alice, x_stainless_retry_count=retries) for _ in range(4)))
        assert {prediction["id"] for _, prediction, _ in answers} == made
    assert await count(gateway, alice) == 4


async def test_a_retry_whose_first_request_made_nothing_makes_one_of_its_own(gateway, alice, create):
    answers = await asyncio.gather(*(create(alice, x_stainless_retry_count="1") for _ in range(3)))
    made = {prediction["id"] for _, prediction, _ in answers}
    assert len(made) == 3
    again = await asyncio.gather(*(create(alice, x_stainless_retry_count="2") for _ in range(3)))
    assert {prediction["id"] for _, prediction, _ in again} == made


async def test_what_was_made_long_ago_is_not_joined(gateway, alice, create, monkeypatch):
    _, first, _ = await create(alice)
    monkeypatch.setattr("tidemill.gateway.predictions.idempotent_acceptor.RETRY_WINDOW_S", 0)
    await asyncio.sleep(0.01)
    assert (await create(alice, x_stainless_retry_count="1"))[1]["id"] != first["id"]


@pytest.mark.parametrize("retries", ["", "-1", "x", "1e3", "100000000000000000000"])
async def test_an_odd_count_of_retries_counts_as_none(gateway, alice, create, retries):
    for _ in range(2):
        assert (await create(alice, x_stainless_retry_count=retries))[0] == 201
    assert await count(gateway, alice) == 2

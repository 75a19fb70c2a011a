"""Several predictions in one request."""

import asyncio
import json

import pytest


@pytest.fixture
def send(gateway):
    async def post(account, body, **headers):
        headers = {**account.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        data = body if isinstance(body, bytes) else json.dumps(body)
        async with gateway.http.post(f"{gateway.url}/v1/predictions/batch", data=data, headers=headers) as response:
            return response.status, await response.json(content_type=None), response.headers

    return post


async def rows(gateway, account):
    return await gateway.parts.database.fetch(
        "SELECT id, input, deadline, webhook FROM prediction WHERE account_id = $1 ORDER BY id", account.id
    )


def item(echo, text="a", **more):
    return {"version": echo, "input": {"text": text}, **more}


async def test_all_are_created_in_order(gateway, alice, send, echo):
    body = {"predictions": [item(echo, str(n), webhook=f"https://hook.example/{n}") for n in range(100)]}
    status, answer, _ = await send(alice, body, Cancel_After="60s")
    assert status == 201
    assert [(each["status"], each["prediction"]["input"]["text"]) for each in answer["results"]] == [
        (201, str(n)) for n in range(100)
    ]
    kept = await rows(gateway, alice)
    assert [row["id"] for row in kept] == [each["prediction"]["id"] for each in answer["results"]]
    assert all(row["deadline"] is not None for row in kept)
    assert kept[7]["webhook"] == "https://hook.example/7"


async def test_what_is_wrong_with_one_item_is_said_of_that_item(gateway, alice, send, echo):
    wrong = [
        {"version": echo, "input": {"text": 7}},
        {"input": {"text": "a"}},
        {"version": "nobody/nothing", "input": {}},
        {"version": echo},
        "no object",
        item(echo, webhook="ftp://hook.example"),
    ]
    status, answer, _ = await send(alice, {"predictions": [item(echo, "first"), *wrong, item(echo, "last")]})
    assert (status, [each["status"] for each in answer["results"]]) == (201, [201, *[422] * 6, 201])
    problems = [each["problem"] for each in answer["results"][1:-1]]
    assert problems[0]["invalid_fields"][0]["field"] == "input.text"
    assert problems[2]["title"] == "Invalid version or not permitted"
    assert all(problem["detail"] and problem["status"] == 422 for problem in problems)
    assert [json.loads(row["input"])["text"] for row in await rows(gateway, alice)] == ["first", "last"]


async def test_all_or_none(gateway, alice, send, echo):
    body = {"predictions": [item(echo), {"version": echo, "input": {}}, item(echo)], "atomic": True}
    status, problem, headers = await send(alice, body)
    assert (status, headers["Content-Type"]) == (422, "application/problem+json")
    assert [each["status"] for each in problem["results"]] == [424, 422, 424]
    assert await rows(gateway, alice) == []
    status, answer, _ = await send(alice, {"predictions": [item(echo)] * 3, "atomic": True})
    assert (status, len(answer["results"]), len(await rows(gateway, alice))) == (201, 3, 3)


async def test_when_nothing_is_right_nothing_is_created(gateway, alice, send, echo):
    status, problem, _ = await send(alice, {"predictions": [{"version": echo, "input": {}}]})
    assert (status, problem["results"][0]["problem"]["title"]) == (422, "Input validation failed")
    assert await rows(gateway, alice) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"predictions": []}, 422),
        ({}, 422),
        ([], 422),
        ({"predictions": {}}, 422),
        ({"predictions": [{"input": {}}] * 101}, 422),
        ({"predictions": [{}], "atomic": 1}, 422),
        (b"{", 400),
    ],
)
async def test_bodies_that_are_no_batch(gateway, alice, send, body, status):
    assert (await send(alice, body))[0] == status
    assert await rows(gateway, alice) == []


async def test_each_item_counts_as_a_create(gateway, alice, send, echo):
    await gateway.parts.database.execute("UPDATE account SET unlimited = false WHERE id = $1", alice.id)
    _, _, before = await send(alice, {"predictions": [item(echo)]})
    _, _, after = await send(alice, {"predictions": [item(echo)] * 50})
    assert 40 <= int(before["RateLimit-Remaining"]) - int(after["RateLimit-Remaining"]) <= 50


async def test_a_key_goes_for_the_whole_batch(gateway, alice, mallory, send, echo, finish):
    body = {"predictions": [item(echo, "a"), {"version": echo, "input": {}}, item(echo, "b")]}
    answers = await asyncio.gather(*(send(alice, body, Idempotency_Key="k") for _ in range(4)))
    assert len(await rows(gateway, alice)) == 2
    made = {tuple(each.get("prediction", {}).get("id") for each in answer["results"]) for _, answer, _ in answers}
    assert len(made) == 1
    assert sorted(headers.get("Idempotent-Replayed", "") for _, _, headers in answers) == ["", "true", "true", "true"]
    first, _, second = made.pop()
    await finish(first, "done")
    database = gateway.parts.database
    await database.execute("UPDATE prediction SET deleted_at = now() WHERE id = $1", second)
    _, again, _ = await send(alice, body, Idempotency_Key="k")
    assert [each["status"] for each in again["results"]] == [201, 422, 409]
    assert again["results"][0]["prediction"]["output"] == "done"
    assert again["results"][1]["problem"]["invalid_fields"]
    assert (await send(alice, {"predictions": [item(echo)]}, Idempotency_Key="k"))[0] == 422
    assert (await send(mallory, body, Idempotency_Key="k"))[1]["results"][0]["prediction"]["id"] != first

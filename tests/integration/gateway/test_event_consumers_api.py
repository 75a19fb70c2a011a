"""Durable consumers over HTTP: what can be asked, what is refused, and what stays somebody else's."""

import asyncio

import pytest

from tidemill.contracts import asyncapi, subjects
from tidemill.contracts.api.event_consumers import EVENT_CONSUMERS_LIMIT
from tidemill.contracts.ids import new_id
from tidemill.security import tokens

NOTHING_MISSED = {"missed": 0, "missed_since": None, "missed_until": None}


async def call(gateway, account, method, path, body=None):
    url = f"{gateway.url}/v1{path}"
    async with gateway.http.request(method, url, json=body, headers=account.headers) as answer:
        return answer.status, await answer.json() if answer.content_length else None


async def test_a_consumer_is_made_shown_listed_and_deleted(gateway, alice):
    status, made = await call(gateway, alice, "POST", "/event-consumers", {"name": "mine"})
    assert (status, made["events"], made["stream"]) == (201, ["prediction", "training"], "PREDICTIONS")
    assert await gateway.parts.bus.jetstream.consumer_info(made["stream"], made["consumer"])
    assert await call(gateway, alice, "GET", f"/event-consumers/{made['id']}") == (
        200,
        {**made, "waiting": 0, "unacknowledged": 0, "last_delivered_at": None, **NOTHING_MISSED},
    )
    _, listed = await call(gateway, alice, "GET", "/event-consumers")
    assert listed == {"next": None, "previous": None, "results": [made]}
    assert (await call(gateway, alice, "DELETE", f"/event-consumers/{made['id']}"))[0] == 204
    for method in ("GET", "DELETE"):
        assert (await call(gateway, alice, method, f"/event-consumers/{made['id']}"))[0] == 404
    names = [info.name for info in await gateway.parts.bus.jetstream.consumers_info("PREDICTIONS")]
    assert made["consumer"] not in names


async def test_a_consumer_tells_what_it_missed(gateway, alice):
    """As the janitor notes it."""
    _, made = await call(gateway, alice, "POST", "/event-consumers", {"name": "mine"})
    await gateway.parts.database.execute(
        "UPDATE event_consumer SET missed = 7, missed_since = '2026-11-30 10:00:00Z',"
        " missed_until = '2026-11-30 10:05:00.5Z' WHERE id = $1",
        made["id"],
    )
    _, state = await call(gateway, alice, "GET", f"/event-consumers/{made['id']}")
    assert {name: state[name] for name in NOTHING_MISSED} == {
        "missed": 7,
        "missed_since": "2026-11-30T10:00:00.000Z",
        "missed_until": "2026-11-30T10:05:00.500Z",
    }


async def test_a_name_can_be_used_once(gateway, alice, mallory):
    assert (await call(gateway, alice, "POST", "/event-consumers", {"name": "x"}))[0] == 201
    assert (await call(gateway, alice, "POST", "/event-consumers", {"name": "x"}))[0] == 409
    assert (await call(gateway, mallory, "POST", "/event-consumers", {"name": "x"}))[0] == 201


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "a.b"},
        {"name": "a*"},
        {"name": "a b"},
        {"name": "a\n"},
        {"name": "é"},
        {"name": "x" * 65},
        {"name": 1},
        {"name": "x", "events": []},
        {"name": "x", "events": ["webhook"]},
        {"name": "x", "events": ["prediction"] * 3},
        {"name": "x", "events": "prediction"},
        [],
    ],
)
async def test_bad_bodies_are_refused(gateway, alice, body):
    status, problem = await call(gateway, alice, "POST", "/event-consumers", body)
    assert (status, problem["status"]) == (422, 422)


async def test_a_kind_named_twice_counts_once(gateway, alice):
    _, made = await call(gateway, alice, "POST", "/event-consumers", {"name": "x", "events": ["training", "training"]})
    assert made["events"] == ["training"]


async def test_what_is_somebody_elses_is_missing(gateway, alice, mallory):
    _, made = await call(gateway, alice, "POST", "/event-consumers", {"name": "mine"})
    for identifier in (made["id"], made["consumer"], "mine", new_id(), "%00", "x" * 3000):
        for method in ("GET", "DELETE"):
            assert (await call(gateway, mallory, method, f"/event-consumers/{identifier}"))[0] == 404
    assert (await call(gateway, mallory, "GET", "/event-consumers"))[1]["results"] == []
    assert (await call(gateway, alice, "GET", f"/event-consumers/{made['id']}"))[0] == 200


async def test_an_account_can_have_so_many(gateway, alice):
    for number in range(EVENT_CONSUMERS_LIMIT):
        assert (await call(gateway, alice, "POST", "/event-consumers", {"name": f"c{number}"}))[0] == 201
    status, problem = await call(gateway, alice, "POST", "/event-consumers", {"name": "another"})
    assert (status, problem["detail"]) == (422, f"An account can have {EVENT_CONSUMERS_LIMIT} event consumers.")
    assert (await call(gateway, alice, "POST", "/event-consumers", {"name": "c0"}))[0] == 409


async def test_twins_at_the_same_moment_make_one(gateway, alice):
    answers = await asyncio.gather(*(call(gateway, alice, "POST", "/event-consumers", {"name": "x"}) for _ in range(5)))
    assert sorted(status for status, _ in answers) == [201, 409, 409, 409, 409]


async def restrict(gateway, account, *scopes):
    token = account.headers["Authorization"].removeprefix("Bearer ")
    await gateway.parts.database.execute(
        "UPDATE token SET scopes = $2 WHERE digest = $1", tokens.digest(token), list(scopes)
    )


async def test_a_token_makes_no_consumer_of_what_it_may_not_read(gateway, alice):
    await restrict(gateway, alice, "predictions:write", "predictions:read")
    assert (await call(gateway, alice, "POST", "/event-consumers", {"name": "x", "events": ["training"]}))[0] == 403
    _, made = await call(gateway, alice, "POST", "/event-consumers", {"name": "x"})
    assert made["events"] == ["prediction"]


async def test_writing_alone_is_not_enough(gateway, alice):
    await restrict(gateway, alice, "predictions:write")
    assert (await call(gateway, alice, "POST", "/event-consumers", {"name": "x"}))[0] == 403


async def test_the_account_tells_how_to_listen(gateway, alice):
    _, account = await call(gateway, alice, "GET", "/account")
    events = account["events"]
    assert events["url"] == gateway.parts.config.nats_public_url
    assert events["subjects"] == [f"prediction.{alice.id}.>", f"training.{alice.id}.>"]
    assert events["inbox_prefix"].startswith("_INBOX_")
    assert events["jetstream_domain"] == subjects.EXTERNAL_DOMAIN


async def test_who_may_hear_nothing_is_told_nothing(gateway, alice):
    await restrict(gateway, alice, "account:read")
    _, account = await call(gateway, alice, "GET", "/account")
    assert "events" not in account


async def test_the_asyncapi_document_needs_no_token_and_names_this_server(gateway):
    async with gateway.http.get(f"{gateway.url}/asyncapi.json") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert await answer.json() == asyncapi.document(gateway.parts.config.nats_public_url)

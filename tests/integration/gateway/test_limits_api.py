"""Rates, room and patience, on real gateways that share a database."""

import asyncio
import contextlib
import time

import aiohttp
import msgspec
import pytest

from tidemill.contracts import subjects
from tidemill.contracts.errors import Problem
from tidemill.contracts.events import LoadReport, QueueLoad
from tidemill.contracts.ids import new_id
from tidemill.contracts.limits import OPEN_PREDICTIONS
from tidemill.gateway.limits import rates
from tidemill.runtime.db import DedicatedConnection
from tidemill.testing.running import until


async def limit(gateway, account, **columns):
    """Sets them before the account's token is looked up for the first time."""
    sets = ", ".join(f"{name} = ${n}" for n, name in enumerate(columns, 2))
    await gateway.parts.database.execute(f"UPDATE account SET {sets} WHERE id = $1", account.id, *columns.values())


async def create(gateway, account, model, **headers):
    body = {"version": model, "input": {"text": "hi"}}
    async with gateway.http.post(
        f"{gateway.url}/v1/predictions", json=body, headers={**account.headers, **headers}
    ) as answer:
        return answer.status, answer.headers, await answer.json()


async def read(gateway, account, path="/v1/account", **headers):
    async with gateway.http.get(f"{gateway.url}{path}", headers={**account.headers, **headers}) as answer:
        return answer.status, answer.headers, await answer.json()


async def tell(gateway, load):
    """As the scheduler would; returns when the gateway has heard it."""
    await gateway.parts.bus.send(subjects.LOAD, load)
    await until("the message", lambda: gateway.parts.admission._open == load.open)


async def test_answers_say_what_is_left(gateway, alice, echo):
    _, headers, _ = await read(gateway, alice)
    assert (headers["RateLimit-Limit"], headers["RateLimit-Remaining"]) == ("3000", "2999")
    assert headers["ratelimit-reset"] == "1"
    status, headers, _ = await create(gateway, alice, echo)
    assert (status, headers["RateLimit-Limit"], headers["ratelimit-remaining"]) == (201, "600", "599")


async def test_over_the_rate_is_429_with_the_documented_body(gateway, alice, echo):
    await limit(gateway, alice, creates_per_minute=1, creates_burst=3)
    for left in (2, 1, 0):
        status, headers, _ = await create(gateway, alice, echo)
        assert (status, headers["RateLimit-Remaining"]) == (201, str(left))
    status, headers, body = await create(gateway, alice, echo)
    seconds = int(headers["Retry-After"])
    assert status == 429
    assert headers["Content-Type"].startswith("application/problem+json")
    assert 50 <= seconds <= 61
    assert body == {
        "detail": f"Request was throttled. Your rate limit resets in ~{seconds}s.",
        "status": 429,
        "retry_after": seconds,
    }
    assert (headers["RateLimit-Limit"], headers["RateLimit-Remaining"]) == ("3", "0")
    assert int(headers["RateLimit-Reset"]) > 100
    status, headers, _ = await read(gateway, alice)  # another allowance
    assert (status, headers["RateLimit-Limit"]) == (200, "3000")


async def test_requests_that_fail_count_too(gateway, alice, echo):
    await limit(gateway, alice, requests_per_minute=1, requests_burst=2, creates_per_minute=1, creates_burst=1)
    assert (await read(gateway, alice, f"/v1/predictions/{new_id()}"))[0] == 404
    status, headers, _ = await read(gateway, alice, "/v1/predictions?cursor=nonsense")
    assert (status, headers["RateLimit-Remaining"]) == (400, "0")
    assert (await read(gateway, alice))[0] == 429
    async with gateway.http.post(f"{gateway.url}/v1/predictions", data=b"{", headers=alice.headers) as answer:
        assert answer.status == 400
    assert (await create(gateway, alice, echo))[0] == 429


async def test_an_unlimited_account_is_not_counted(gateway, alice, echo):
    await limit(gateway, alice, unlimited=True, creates_per_minute=1, creates_burst=1, open_predictions=1)
    for _ in range(3):
        status, headers, _ = await create(gateway, alice, echo)
        assert status == 201
        assert not any(name.lower().startswith("ratelimit") for name in headers)
    rows = await gateway.parts.database.value("SELECT count(*) FROM allowance WHERE account_id = $1", alice.id)
    assert rows == 0
    assert gateway.parts.admission.open_predictions(alice.id, time.monotonic()) == 0


async def test_two_gateways_admit_together_what_one_may(gateway, servers, alice, start_gateway):
    await limit(gateway, alice, requests_per_minute=600, requests_burst=200)
    async with start_gateway(servers) as other:
        admitted = {200: 0, 429: 0}
        began = time.monotonic()

        async def ask(which):
            # On a slow machine it takes longer to use up the burst.
            while time.monotonic() - began < 4 or admitted[429] < 50:
                status, _, _ = await read(which, alice)
                admitted[status] += 1
                await asyncio.sleep(0.005)

        async with asyncio.TaskGroup() as tasks:
            for which in (gateway, other) * 4:
                tasks.create_task(ask(which))
        took_s = time.monotonic() - began
    expected = 200 + 10 * took_s
    assert expected * 0.9 <= admitted[200] <= expected * 1.1


async def test_what_one_gateway_took_the_other_does_not_give_again(gateway, servers, alice, echo, start_gateway):
    await limit(gateway, alice, creates_per_minute=1, creates_burst=4)
    async with start_gateway(servers) as other:
        for _ in range(4):
            assert (await create(gateway, alice, echo))[0] == 201
        statuses = [(await create(other, alice, echo))[0] for _ in range(3)]
    # It may admit one of its own accord; that one is on the record then.
    assert statuses in ([201, 429, 429], [429, 429, 429])


async def test_without_the_record_each_gateway_limits_alone(gateway, servers, alice, start_gateway, monkeypatch):
    await limit(gateway, alice, requests_per_minute=1, requests_burst=100)
    monkeypatch.setattr(rates, "RECORD_WITHIN_S", 0.05)
    monkeypatch.setattr(rates, "RETRY_S", 0.01)
    unchecked = rates.UNCHECKED.labels("requests")._value.get
    before = unchecked()
    async with start_gateway(servers) as other:
        working, other.parts.rate_limiter._connection = (
            other.parts.rate_limiter._connection,
            DedicatedConnection("postgresql://nobody@127.0.0.1:1/none"),
        )
        answers = [await read(other, alice) for _ in range(101)]
        assert [status for status, _, _ in answers] == [200] * 100 + [429]
        assert unchecked() > before
        other.parts.rate_limiter._connection = working
        await until("the record", lambda: not other.parts.rate_limiter._is_unreachable)
        # What was admitted meanwhile is not held against the account.
        assert (await read(other, alice))[0] == 200


async def test_many_creates_count_each(gateway, alice):
    await limit(gateway, alice, creates_per_minute=1, creates_burst=10)
    assert (await read(gateway, alice))[0] == 200

    account = (await gateway.parts.callers.get(alice.headers["Authorization"])).account
    request = {}
    await gateway.parts.rate_limiter.take(request, account, cost=7)
    assert request[rates.VERDICT].remaining == 3
    with pytest.raises(Problem) as caught:
        await gateway.parts.rate_limiter.take(request, account, cost=4)
    assert caught.value.status == 429


async def test_a_batch_counts_each_of_its_items(gateway, alice, echo):
    await limit(gateway, alice, creates_per_minute=1, creates_burst=5)
    body = {"predictions": [{"version": echo, "input": {"text": "hi"}}] * 3}
    url = f"{gateway.url}/v1/predictions/batch"
    async with gateway.http.post(url, json=body, headers=alice.headers) as answer:
        assert (answer.status, answer.headers["RateLimit-Remaining"]) == (201, "2")
    async with gateway.http.post(url, json=body, headers=alice.headers) as answer:
        assert answer.status == 429


async def test_too_many_open_predictions(gateway, alice, echo):
    await limit(gateway, alice, open_predictions=2)
    first = (await create(gateway, alice, echo))[2]
    assert (await create(gateway, alice, echo))[0] == 201
    status, headers, body = await create(gateway, alice, echo)
    assert (status, headers["Retry-After"], body["retry_after"]) == (429, "5", 5)
    assert "2 predictions of this account are open" in body["detail"]
    cancel = f"{gateway.url}/v1/predictions/{first['id']}/cancel"
    async with gateway.http.post(cancel, headers=alice.headers) as answer:
        assert answer.status == 200
    await until(
        "the end to be heard", lambda: gateway.parts.admission.open_predictions(alice.id, time.monotonic()) == 1
    )
    assert (await create(gateway, alice, echo))[0] == 201


async def test_what_the_scheduler_has_counted_elsewhere_takes_room(gateway, alice, echo):
    full = LoadReport(at=time.time(), behind_s=1.0, open={alice.id: OPEN_PREDICTIONS})
    await tell(gateway, full)
    assert (await create(gateway, alice, echo))[0] == 429
    await tell(gateway, LoadReport(at=time.time(), behind_s=1.0, open={alice.id: OPEN_PREDICTIONS - 1}))
    assert (await create(gateway, alice, echo))[0] == 201
    await tell(gateway, LoadReport(at=time.time(), behind_s=0.0))


@contextlib.asynccontextmanager
async def no_statements(gateway):
    """Fails on any statement of the gateway's pool and connection meanwhile."""
    database, parts = gateway.parts.database, gateway.parts

    async def refuse(*_args, **_kwargs):
        raise AssertionError("a statement was made")

    pool, fetch = database._pool, parts.acceptor._connection.fetch
    database._pool, parts.acceptor._connection.fetch = None, refuse
    try:
        yield
    finally:
        database._pool, parts.acceptor._connection.fetch = pool, fetch


async def test_a_full_queue_refuses_from_memory(gateway, alice, echo):
    status, _, _ = await create(gateway, alice, echo)  # the token and the version are remembered now
    assert status == 201
    queue = await gateway.parts.database.value("SELECT latest_queue FROM model WHERE owner || '/' || name = $1", echo)
    now = time.time()
    line = QueueLoad(queue=queue, waiting=3, oldest_at=now - 700)
    await tell(gateway, LoadReport(at=now, behind_s=1.0, queues=[line], open={"marker": 1}))
    async with no_statements(gateway):
        status, headers, body = await create(gateway, alice, echo)
    assert (status, headers["Retry-After"]) == (503, "30")
    assert "700 s" in body["detail"]
    await tell(gateway, LoadReport(at=now, behind_s=0.0))
    assert (await create(gateway, alice, echo))[0] == 201


async def test_an_address_with_many_bad_tokens_waits_and_others_do_not(gateway, servers, alice, echo, start_gateway):
    config = msgspec.structs.replace(servers, trusted_proxies="127.0.0.0/8")
    async with start_gateway(config) as other:

        async def ask(token, address):
            headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address}
            async with other.http.get(f"{other.url}/v1/account", headers=headers) as answer:
                return answer.status, answer.headers, await answer.json()

        good = alice.headers["Authorization"].removeprefix("Bearer ")
        assert (await ask(good, "198.51.100.7"))[0] == 200
        statuses = [(await ask(f"guess-{n}", "198.51.100.7"))[0] for n in range(31)]
        assert statuses == [401] * 30 + [429]
        status, headers, body = await ask("guess", "198.51.100.7")
        assert status == 429
        assert 1 <= int(headers["Retry-After"]) <= 3
        assert body["retry_after"] == int(headers["Retry-After"])
        assert (await ask(good, "198.51.100.7"))[0] == 200  # known to be good
        assert (await ask("guess", "198.51.100.8"))[0] == 401
        async with other.http.get(f"{other.url}/v1/account") as answer:  # no token is no guess
            assert answer.status == 401
    for _ in range(40):  # nobody can be told apart here
        assert (await read(gateway, alice, Authorization="Bearer nonsense"))[0] == 401


async def test_an_address_without_a_token_has_a_rate_for_what_is_public_and_one_for_signed_urls(
    gateway, servers, start_gateway
):
    limited = {"anonymous_per_minute": 3, "signed_per_minute": 2}
    config = msgspec.structs.replace(servers, trusted_proxies="127.0.0.0/8", **limited)
    shared = f"predictions/{new_id()}"  # nobody's, which costs the same look
    async with start_gateway(config) as other:

        async def statuses(address, *paths):
            answers = []
            for path in paths:
                headers = {"X-Forwarded-For": address}
                async with other.http.get(f"{other.url}/v1/{path}", headers=headers) as answer:
                    answers.append((answer.status, answer.headers.get("Retry-After")))
            return answers

        public = await statuses("198.51.100.7", shared, "docs", "openapi.json", shared, "docs/api")
        assert public == [(401, None), (200, None), (200, None), (429, "20"), (429, "20")]
        signed = await statuses("198.51.100.7", "streams/x", "delivery/x/y", f"files/{new_id()}/download", "streams/x")
        assert signed == [(404, None), (404, None), (429, "30"), (429, "30")]
        assert await statuses("198.51.100.8", "docs", "streams/x") == [(200, None), (404, None)]
    unlimited = msgspec.structs.replace(config, anonymous_per_minute=0, signed_per_minute=0)
    async with start_gateway(unlimited) as other:
        assert await statuses("198.51.100.7", *["docs"] * 5) == [(200, None)] * 5


async def test_a_token_does_not_take_from_the_rate_of_its_address(gateway, servers, alice, start_gateway):
    config = msgspec.structs.replace(servers, trusted_proxies="127.0.0.0/8", anonymous_per_minute=1)
    async with start_gateway(config) as other:
        url, address = f"{other.url}/v1/predictions/{new_id()}", {"X-Forwarded-For": "198.51.100.7"}
        for _ in range(3):
            async with other.http.get(url, headers=alice.headers | address) as answer:
                assert answer.status == 404
        async with other.http.get(url, headers=address) as answer:
            assert answer.status == 401


async def test_nobody_on_this_machine_has_a_rate(gateway, servers, start_gateway):
    async with start_gateway(msgspec.structs.replace(servers, anonymous_per_minute=1)) as other:
        for _ in range(3):
            async with other.http.get(f"{other.url}/v1/docs") as answer:
                assert answer.status == 200


async def test_a_certain_refusal_is_told_again_word_for_word_and_to_nobody_else(gateway, alice, mallory, echo):
    """Without being looked at: the answer is the one that the look gave."""
    await limit(gateway, alice, creates_per_minute=1, creates_burst=1)
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector) as http:
        alone = gateway._replace(http=http)  # everything goes over one connection
        assert (await create(alone, alice, echo))[0] == 201
        told = [await create(alone, alice, echo) for _ in range(3)]
        assert [status for status, _, _ in told] == [429] * 3
        assert told[0][2] == told[1][2] == told[2][2]
        for name in ("Content-Type", "Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"):
            assert len({headers[name] for _, headers, _ in told[1:]}) == 1, name
        assert "Server" not in told[2][1], "it was looked at"
        assert (await create(alone, mallory, echo))[0] == 201
        assert (await read(alone, alice))[0] == 200

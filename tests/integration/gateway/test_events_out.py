"""Outside subscribers on the real NATS: what they hear with their token, and that nothing else is in their reach."""

import asyncio
import contextlib
import json

import nats
import pytest
from nats.aio.client import Client

from tidemill.contracts import subjects
from tidemill.contracts.ids import new_id
from tidemill.contracts.prediction import Status
from tidemill.gateway.events.auth_callout import ANSWERS, AuthCallout
from tidemill.gateway.events.durable_consumers import DurableConsumers
from tidemill.gateway.events.external_subscribers import ExternalSubscribers
from tidemill.runtime.bus import Bus
from tidemill.runtime.predictions import announcements
from tidemill.runtime.predictions.ending import Ended
from tidemill.runtime.predictions.outcome import Outcome
from tidemill.security import tokens
from tidemill.stack.servers import nats_accounts
from tidemill.testing.running import until


def token(account):
    return account.headers["Authorization"].removeprefix("Bearer ")


async def access(gateway, account):
    """(token id, account id)"""
    row = await gateway.parts.database.row("SELECT id FROM token WHERE digest = $1", tokens.digest(token(account)))
    return row["id"]


class Outsider:
    """A subscriber with its own inbox prefix, and the errors that the server sent it."""

    def __init__(self, client, errors):
        self.client = client
        self.errors = errors

    async def refused(self, part):
        return await until(f"a refusal of {part}", lambda: [e for e in self.errors if part.lower() in e.lower()])


async def _end(client):
    await client.close()
    if client._transport is not None:  # nats-py leaves it open where it was refused
        client._transport.close()
        with contextlib.suppress(OSError):
            await client._transport.wait_closed()


@pytest.fixture
async def connect(events):
    async with contextlib.AsyncExitStack() as stack:

        async def make(account, **options):
            errors = []

            async def on_error(error):
                errors.append(str(error))

            options.setdefault("token", token(account))
            client = Client()
            stack.push_async_callback(_end, client)
            await client.connect(
                events.gateway.parts.config.nats_public_url,
                inbox_prefix=subjects.inbox(await access(events.gateway, account)).encode(),
                error_cb=on_error,
                allow_reconnect=False,
                **options,
            )
            return Outsider(client, errors)

        yield make


async def register(events, account, kinds=None):
    url = f"{events.gateway.url}/v1/event-consumers"
    body = {"name": f"c-{new_id()}", "events": kinds}
    async with events.gateway.http.post(url, json=body, headers=account.headers) as answer:
        assert answer.status == 201, await answer.text()
        return await answer.json()


async def test_a_token_hears_its_accounts_events_and_no_others(events, connect, alice, mallory):
    outsider = await connect(alice)
    heard = []

    async def receive(message):
        heard.append(message)

    await outsider.client.subscribe(subjects.events_of(alice.id, "prediction"), cb=receive)
    await outsider.client.subscribe(subjects.events_of(alice.id, "training"), cb=receive)
    await outsider.client.flush()
    await events.announce(mallory)
    big = b'"' + b"x" * 60_000 + b'"'
    ids = [
        await events.announce(alice, name="started"),
        await events.announce(alice, output=big),
        await events.announce(alice, "training"),
    ]
    await until("three events", lambda: len(heard) == 3)
    assert [json.loads(m.data)["id"] for m in heard] == ids
    assert [m.headers["ce-type"] for m in heard] == [
        "tidemill.prediction.started",
        "tidemill.prediction.completed",
        "tidemill.training.completed",
    ]
    assert heard[0].headers["ce-specversion"] == "1.0"
    assert heard[0].headers["ce-id"] == f"{ids[0]}-1-started"


async def test_the_token_may_be_the_password(connect, alice):
    outsider = await connect(alice, token=None, user="anything", password=token(alice))
    assert outsider.client.is_connected


@pytest.mark.parametrize("given", ["", "nonsense", "well made", "r8_" + "a" * 37, "x" * 2000, "é", "a b c"])
async def test_whoever_has_no_valid_token_is_refused(connect, alice, given):
    with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
        await connect(alice, token=tokens.new_token() if given == "well made" else given)


async def test_nobody_connects_without_anything(connect, alice):
    with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
        await connect(alice, token=None)


FOREIGN_SUBSCRIPTIONS = [
    ">",
    "*.>",
    "prediction.>",
    "prediction.*.>",
    "prediction.*.completed.*",
    "prediction.{other}.>",
    "training.{other}.>",
    "prediction.{other}.completed.gateway",
    "_INBOX.>",
    "_INBOX_{other_token}.>",
    "output.>",
    "job.>",
    "fleet.>",
    "fleet.heartbeat",
    "webhook.>",
    "$SYS.>",
    "$SYS.REQ.USER.AUTH",
    "$JS.>",
    "$JS.ACK.>",
    "$JS.EVENT.>",
    "$JSC.R.>",
    "_R_.>",
    "$KV.>",
]


@pytest.mark.parametrize("subject", FOREIGN_SUBSCRIPTIONS)
async def test_foreign_subjects_cannot_be_heard(events, connect, alice, mallory, subject):
    outsider = await connect(mallory)
    other_token = await access(events.gateway, alice)
    await outsider.client.subscribe(subject.format(other=alice.id, other_token=other_token))
    await outsider.client.subscribe(subject.format(other=alice.id, other_token=other_token), "queue")
    await outsider.refused("permissions violation for subscription")


FOREIGN_PUBLISHES = [
    "prediction.{own}.completed.gateway",
    "prediction.{other}.completed.gateway",
    "output.x",
    "job.x",
    "fleet.cancel",
    "fleet.demand",
    "webhook.event",
    "_INBOX.x",
    "_INBOX_{other_token}.x",
    "$SYS.REQ.USER.AUTH",
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.SERVER.x.KICK",
    "$SYS.REQ.ACCOUNT.EVENTS.CONNZ",
    "$SYS.REQ.USER.INFO.x",
    "$JS.API.INFO",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.INFO.PREDICTIONS",
    "$JS.API.STREAM.CREATE.MINE",
    "$JS.API.STREAM.UPDATE.PREDICTIONS",
    "$JS.API.STREAM.PURGE.PREDICTIONS",
    "$JS.API.STREAM.DELETE.PREDICTIONS",
    "$JS.API.STREAM.MSG.GET.PREDICTIONS",
    "$JS.API.STREAM.MSG.DELETE.PREDICTIONS",
    "$JS.API.STREAM.SNAPSHOT.PREDICTIONS",
    "$JS.API.DIRECT.GET.PREDICTIONS",
    "$JS.API.DIRECT.GET.PREDICTIONS.prediction.{other}.completed.gateway",
    "$JS.API.CONSUMER.CREATE.PREDICTIONS",
    "$JS.API.CONSUMER.CREATE.PREDICTIONS.mine",
    "$JS.API.CONSUMER.CREATE.PREDICTIONS.mine.prediction.{own}.>",
    "$JS.API.CONSUMER.CREATE.PREDICTIONS.{consumer}",
    "$JS.API.CONSUMER.DURABLE.CREATE.PREDICTIONS.{consumer}",
    "$JS.API.CONSUMER.DELETE.PREDICTIONS.{consumer}",
    "$JS.API.CONSUMER.PAUSE.PREDICTIONS.{consumer}",
    "$JS.API.CONSUMER.RESET.PREDICTIONS.{consumer}",
    "$JS.API.CONSUMER.INFO.PREDICTIONS.{consumer}",
    "$JS.API.CONSUMER.INFO.PREDICTIONS.{consumer}-x",
    "$JS.API.CONSUMER.LIST.PREDICTIONS",
    "$JS.API.CONSUMER.NAMES.PREDICTIONS",
    "$JS.API.CONSUMER.MSG.NEXT.PREDICTIONS.{consumer}",
    "$JS.API.CONSUMER.MSG.NEXT.JOBS.jobs-x",
    "$JS.events.API.CONSUMER.MSG.NEXT.PREDICTIONS.{consumer}",
    "$JS.events.API.CONSUMER.INFO.PREDICTIONS.{consumer}",
    "$JS.events.API.CONSUMER.CREATE.PREDICTIONS.x",
    "$JS.events.API.STREAM.INFO.PREDICTIONS",
    "$JS.ACK.PREDICTIONS.{consumer}.1.1.1.1.0",
    "$JS.ACK._.x.PREDICTIONS.{consumer}.1.1.1.1.0",
    "$JS.FC.x",
]


@pytest.mark.parametrize("subject", FOREIGN_PUBLISHES)
async def test_nothing_can_be_published_but_to_own_consumers(events, connect, alice, mallory, subject):
    theirs = await register(events, alice)
    await register(events, mallory)
    outsider = await connect(mallory)
    names = {"own": mallory.id, "other": alice.id, "consumer": theirs["consumer"]}
    target = subject.format(**names, other_token=await access(events.gateway, alice))
    await outsider.client.publish(target, b"{}", reply=f"{subjects.inbox(await access(events.gateway, mallory))}.x")
    await outsider.refused("permissions violation for publish")


async def test_without_a_consumer_nothing_at_all_can_be_published(connect, alice):
    outsider = await connect(alice)
    await outsider.client.publish("anything", b"x")
    await outsider.refused("permissions violation for publish")


async def pull(outsider, consumer, count):
    jetstream = outsider.client.jetstream(domain=subjects.EXTERNAL_DOMAIN)
    subscription = await jetstream.pull_subscribe_bind(consumer=consumer["consumer"], stream=consumer["stream"])
    return await subscription.fetch(count, timeout=60)


async def test_a_durable_consumer_brings_what_was_missed(events, connect, alice, mallory):
    consumer = await register(events, alice)
    ids = [await events.announce(alice), await events.announce(alice, "training")]
    await events.announce(mallory)
    first = await connect(alice)
    messages = await pull(first, consumer, 2)
    assert [json.loads(m.data)["id"] for m in messages] == ids
    assert messages[0].headers["ce-type"] == "tidemill.prediction.completed"
    await messages[0].ack_sync()
    await messages[1].ack_sync()
    await first.client.close()
    later = await events.announce(alice)
    second = await connect(alice)
    (message,) = await pull(second, consumer, 1)
    assert json.loads(message.data)["id"] == later
    url = f"{events.gateway.url}/v1/event-consumers/{consumer['id']}"
    async with events.gateway.http.get(url, headers=alice.headers) as answer:
        state = await answer.json()
    assert (state["waiting"], state["unacknowledged"]) == (0, 1)
    assert not second.errors


async def test_replies_reach_nothing_of_the_services(events, connect, alice):
    # Whoever may publish anything may name any subject for the answer; their account keeps it from the services'.
    consumer = await register(events, alice)
    await events.announce(alice)
    await events.announce(alice)
    bus, hit = events.gateway.parts.bus, []

    async def receive(message):
        hit.append(message.subject)

    outsider = await connect(alice)
    for subject in ("fleet.>", "job.>", "webhook.>", "output.>"):  # gateways tell one another of the connection itself
        await bus.listen_raw(subject, receive)
    following, info, ack = subjects.consumer_subjects(consumer["id"])
    before = await bus.jetstream.stream_info("PREDICTIONS")
    targets = [
        "fleet.cancel",
        "job.x",
        "webhook.event",
        "output.x",
        "$JS.API.STREAM.PURGE.PREDICTIONS",
        "$JS.API.STREAM.DELETE.JOBS",
        "$JS.API.STREAM.DELETE.PREDICTIONS",
        f"$JS.API.CONSUMER.DELETE.PREDICTIONS.{consumer['consumer']}",
        "$SYS.REQ.SERVER.PING.STATSZ",
    ]
    for target in targets:
        await outsider.client.publish(following, b'{"batch":1,"no_wait":true}', reply=target)
        await outsider.client.publish(info, b"", reply=target)
        await outsider.client.publish(ack.replace(">", "1.1.1.1.0"), b"", reply=target)
        await outsider.client.publish(ack.replace(">", "1.1.1.1.0"), b"+NXT", reply=target)
    await outsider.client.request(info, b"", timeout=60)  # what was asked before has been heard
    after = await bus.jetstream.stream_info("PREDICTIONS")
    assert after.state.messages >= before.state.messages
    await bus.jetstream.stream_info("JOBS")
    await bus.jetstream.consumer_info("PREDICTIONS", consumer["consumer"])
    assert not hit


async def test_headers_that_servers_obey_carry_nothing_across(events, connect, alice):
    consumer = await register(events, alice)
    bus, hit = events.gateway.parts.bus, []

    async def receive(message):
        hit.append(message.subject)

    await bus.listen_raw("fleet.traced", receive)
    outsider = await connect(alice)
    _, info, _ = subjects.consumer_subjects(consumer["id"])
    headers = {"Nats-Trace-Dest": "fleet.traced", "Nats-Request-Info": '{"acc":"TIDEMILL"}'}
    await outsider.client.publish(info, b"", headers=headers)
    await outsider.client.flush()
    with contextlib.suppress(nats.errors.Error):
        await outsider.client.request(info, b"", timeout=2)
    assert not hit


async def test_a_revoked_token_loses_its_connection(events, connect, alice, mallory):
    alices, others = await connect(alice), await connect(mallory)
    await events.watch.check()
    assert alices.client.is_connected
    await events.gateway.parts.database.execute(
        "UPDATE token SET revoked_at = now() WHERE digest = $1", tokens.digest(token(alice))
    )
    await events.watch.check()
    await until("the end of the connection", lambda: not alices.client.is_connected)
    assert others.client.is_connected
    events.gateway.parts.callers.invalidate(alice.id)
    with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
        await connect(alice)


async def restrict(events, account, scopes):
    await events.gateway.parts.database.execute(
        "UPDATE token SET scopes = $2 WHERE digest = $1", tokens.digest(token(account)), scopes
    )
    events.gateway.parts.callers.invalidate(account.id)


async def test_scopes_decide_what_is_heard(events, connect, alice):
    both = await register(events, alice)
    trainings = await register(events, alice, ["training"])
    await restrict(events, alice, ["trainings:read"])
    outsider = await connect(alice)
    assert await outsider.client.jetstream(domain=subjects.EXTERNAL_DOMAIN).consumer_info(
        "PREDICTIONS", trainings["consumer"]
    )
    await outsider.client.subscribe(subjects.events_of(alice.id, "prediction"))
    await outsider.refused("permissions violation for subscription")
    await outsider.client.publish(subjects.consumer_subjects(both["id"])[0], b"")
    await outsider.refused("permissions violation for publish")
    await restrict(events, alice, ["predictions:read"])
    await events.watch.check()
    await until("the end of the connection", lambda: not outsider.client.is_connected)
    await restrict(events, alice, ["models:read"])
    with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
        await connect(alice)


async def test_a_consumer_that_nats_forgot_comes_back_with_the_next_connection(events, connect, alice):
    consumer = await register(events, alice)
    event = await events.announce(alice)
    bus = events.gateway.parts.bus
    await bus.jetstream.delete_consumer("PREDICTIONS", consumer["consumer"])
    await events.gateway.parts.durable_consumers._forget()
    outsider = await connect(alice)
    (message,) = await pull(outsider, consumer, 1)
    assert json.loads(message.data)["id"] == event


async def test_an_accounts_shorter_retention_holds_for_its_events(events, alice):
    ended = Ended(
        id=new_id(),
        account=alice.id,
        gateway="gateway",
        kind="prediction",
        model="a/b",
        version="v",
        webhook=False,
        created_at=1.0,
        retention_s=1,
    )
    last = Outcome(id=ended.id, attempt=1, status=Status.SUCCEEDED, output='"secret"', logs="", completed_at=2.0)
    bus = events.gateway.parts.bus
    await announcements.announce(bus, [(ended, last)])
    subject = subjects.prediction(alice.id, "completed", "gateway")
    assert (await bus.jetstream.get_last_msg("PREDICTIONS", subject)).data

    async def gone():
        try:
            await bus.jetstream.get_last_msg("PREDICTIONS", subject)
        except nats.js.errors.NotFoundError:
            return True
        return False

    await until("the event to be gone", gone)


async def test_a_connection_ends_with_its_token(events, connect, alice):
    await events.gateway.parts.database.execute(
        "UPDATE token SET expires_at = now() + interval '3 seconds' WHERE digest = $1", tokens.digest(token(alice))
    )
    outsider = await connect(alice)
    assert outsider.client.is_connected
    await until("the end of the connection", lambda: outsider.client.is_closed)
    with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
        await connect(alice)


async def test_subscriptions_of_a_connection_are_bounded(connect, alice):
    others = [await connect(alice) for _ in range(2)]
    for other in others:
        for _ in range(nats_accounts.OUTSIDE_SUBSCRIPTIONS_LIMIT * 3 // 4):
            await other.client.subscribe(subjects.events_of(alice.id, "prediction"))
        await other.client.flush()
    outsider = await connect(alice)
    for _ in range(nats_accounts.OUTSIDE_SUBSCRIPTIONS_LIMIT + 1):
        await outsider.client.subscribe(subjects.events_of(alice.id, "prediction"))
    await until("the end of the connection", lambda: outsider.client.is_closed)
    assert all(other.client.is_connected for other in others)


async def test_what_outsiders_send_is_bounded(events, connect, alice):
    consumer = await register(events, alice)
    outsider = await connect(alice)
    _, info, _ = subjects.consumer_subjects(consumer["id"])
    await outsider.client.publish(info, b"x" * 5000)
    await until("the end of the connection", lambda: outsider.client.is_closed)


async def test_gateways_share_the_questions(events, connect, alice):
    parts = events.gateway.parts
    bus = Bus(parts.config.nats_url, "second")
    async with bus:
        outsiders = ExternalSubscribers(bus, 50)
        seed = parts.config.nats_callout_seed
        second = AuthCallout(seed, bus, parts.database, parts.callers, DurableConsumers(bus), subscribers=outsiders)
        await second.listen()
        task = asyncio.create_task(second.run())
        before = ANSWERS.labels("admitted")._value.get()
        for _ in range(12):
            await connect(alice)
        assert ANSWERS.labels("admitted")._value.get() == before + 12
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_account_has_so_many_connections_and_room_again_when_one_ends(events, connect, alice, mallory):
    limit = 5
    outsiders = events.gateway.parts.external_subscribers
    before, outsiders.counts.limit = outsiders.counts.limit, limit
    try:
        mine = [await connect(alice) for _ in range(limit)]
        with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
            await connect(alice)
        theirs = await connect(mallory)
        _, account = await events.gateway.ask("GET", "/account", alice)
        assert (account["events"]["connections_limit"], account["events"]["connections"]) == (limit, limit)
        await mine[0].client.close()

        async def room():
            try:
                return await connect(alice)
            except nats.errors.Error:  # it was full a moment ago
                return None

        assert (await until("room again", room)).client.is_connected
        with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
            await connect(alice)
        assert all(each.client.is_connected for each in (*mine[1:], theirs))
    finally:
        outsiders.counts.limit = before


async def test_many_at_once_over_two_gateways_leave_no_more_than_the_limit(events, connect, alice):
    """Two gateways may admit at one moment; what is too much then is ended by their watch."""
    limit, parts = 4, events.gateway.parts
    bus = Bus(parts.config.nats_url, "second")
    before, parts.external_subscribers.counts.limit = parts.external_subscribers.counts.limit, limit
    async with bus:
        outsiders = ExternalSubscribers(bus, limit)
        seed = parts.config.nats_callout_seed
        second = AuthCallout(seed, bus, parts.database, parts.callers, DurableConsumers(bus), subscribers=outsiders)
        await second.listen()
        task = asyncio.create_task(second.run())
        try:
            tried = await asyncio.gather(*(connect(alice) for _ in range(4 * limit)), return_exceptions=True)
            made = [each for each in tried if not isinstance(each, BaseException)]
            assert len(made) >= limit
            await events.watch.check()
            await until("those too many to be ended", lambda: sum(each.client.is_connected for each in made) <= limit)
            assert sum(each.client.is_connected for each in made) == limit
        finally:
            parts.external_subscribers.counts.limit = before
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

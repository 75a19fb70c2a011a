"""The base of the URLs in answers: the public URL by which the request came."""

import asyncio
import io
import json
import re
import time
from datetime import UTC, datetime

import aiohttp
import msgspec
import pytest

from tidemill.contracts.ids import new_id
from tidemill.security.delivery_urls import delivery_url
from tidemill.testing import rows

FIRST, SECOND = "https://tide.example/mill", "http://mill.lan:8300"
AGENT = "a-program/1"
URL = re.compile(r"^https?://[^/]+")


@pytest.fixture
async def listed(servers, start_gateway):
    """A gateway whose operator lists two URLs."""
    async with start_gateway(msgspec.structs.replace(servers, public_urls=f"{FIRST},{SECOND}")) as gateway:
        yield gateway


@pytest.fixture
async def streaming(gateway, alice):
    """A model of Alice's that streams files."""
    database, name, queue = gateway.parts.database, new_id(), new_id()
    model = await rows.model(database, alice.id, owner=alice.username, name=name, latest_queue=queue)
    files = {"type": "array", "items": {"type": "string", "format": "uri"}, "x-cog-array-type": "iterator"}
    schema = rows.schema(Input={"type": "object", "properties": {"text": {"type": "string"}}}, Output=files)
    await rows.version(database, model, queue=queue, openapi_schema=schema, streams=True)
    return f"{alice.username}/{name}"


def _in_an_hour():
    return int(time.time()) + 3600


def texts(value):
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [value] if isinstance(value, str) else [text for child in children for text in texts(child)]


def bases(value):
    """Scheme and host of every URL in an answer."""
    return {found[0] for text in texts(value) if (found := URL.match(text))}


async def answer(gateway, account, method, path, host, **request):
    """Everything that is said: the JSON and the Location."""
    headers = {**account.headers, "User-Agent": AGENT, "Host": host, **request.pop("headers", {})}
    async with gateway.http.request(method, f"{gateway.url}/v1{path}", headers=headers, **request) as response:
        assert response.ok, await response.text()
        said = json.loads(await response.read())
        return said, [said, response.headers.get("Location", "")]


async def open_prediction(gateway, account):
    async with asyncio.timeout(120):
        while True:
            (found, *_) = (await gateway.ask("GET", "/predictions", account))[1]["results"] or [None]
            if found is not None and found["status"] == "starting":
                return found["id"]
            await asyncio.sleep(0.02)


async def all_answers(gateway, account, model, host, finish):
    """What has URLs in it, by name."""
    made, create = await answer(
        gateway, account, "POST", f"/models/{model}/predictions", host, json={"input": {"text": "x"}}
    )
    file = delivery_url(gateway.parts.signing_key, gateway.parts.public_urls.first, "outputs/a/b.png", _in_an_hour())
    await finish(made["id"], output=[file, "text"])
    identifier = made["id"]
    waiting = asyncio.create_task(
        answer(
            gateway,
            account,
            "POST",
            f"/models/{model}/predictions",
            host,
            json={"input": {"text": "y"}},
            headers={"Prefer": "wait"},
        )
    )
    await finish(await open_prediction(gateway, account), output=file)
    _, sync = await waiting
    form = aiohttp.FormData()
    form.add_field("content", io.BytesIO(b"x"), filename="x.txt")
    uploaded, upload = await answer(gateway, account, "POST", "/files", host, data=form)
    return {
        "create": create,
        "a create that waits": sync,
        "get": await answer(gateway, account, "GET", f"/predictions/{identifier}", host),
        "cancel": await answer(gateway, account, "POST", f"/predictions/{identifier}/cancel", host),
        "list": await answer(gateway, account, "GET", "/predictions", host),
        "upload": upload,
        "file": await answer(gateway, account, "GET", f"/files/{uploaded['id']}", host),
        "model": [(await answer(gateway, account, "GET", f"/models/{model}", host))[0]["url"]],
        "search": (await answer(gateway, account, "GET", "/search?query=webhooks", host))[0]["pages"],
        "document": (await answer(gateway, account, "GET", "/openapi.json", host))[0]["servers"],
    }


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "192.168.1.20", "[::1]"])
async def test_while_only_loopback_is_listed_every_url_is_where_the_client_asked(
    gateway, alice, streaming, finish, name
):
    port = gateway.url.rpartition(":")[2]
    answers, expected = await all_answers(gateway, alice, streaming, f"{name}:{port}", finish), f"http://{name}:{port}"
    assert {what: bases(said) for what, said in answers.items()} == {what: {expected} for what in answers}


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("tide.example", FIRST),
        ("mill.lan:8300", SECOND),
        ("evil.example", FIRST),
        ("localhost:8300", FIRST),
        ("10.0.0.5", FIRST),
    ],
)
async def test_every_url_has_the_listed_base_by_which_its_request_came_else_the_first(
    listed, alice, streaming, finish, host, base
):
    answers = await all_answers(listed, alice, streaming, host, finish)
    wrong = {
        what: [text for text in texts(said) if URL.match(text) and not text.startswith(f"{base}/")]
        for what, said in answers.items()
    }
    assert not any(wrong.values()), wrong


async def test_pages_go_on_where_they_began(listed, alice):
    ended = {"account_id": alice.id, "status": "failed", "completed_at": datetime.now(UTC)}
    for _ in range(101):
        await rows.prediction(listed.parts.database, **ended)
    host = "mill.lan:8300"
    page, _ = await answer(listed, alice, "GET", "/predictions?status=failed", host)
    assert page["next"].startswith(f"{SECOND}/v1/predictions?")
    following = page["next"].removeprefix(f"{SECOND}/v1")
    last, _ = await answer(listed, alice, "GET", following, host)
    assert (last["next"], bases(last["previous"])) == (None, {"http://mill.lan:8300"})
    seen = [each["id"] for each in (*page["results"], *last["results"])]
    assert len(set(seen)) == 101
    there, _ = await answer(listed, alice, "GET", following, "tide.example")
    assert [each["id"] for each in there["results"]] == [each["id"] for each in last["results"]]
    assert there["previous"].startswith(f"{FIRST}/v1/predictions?")


async def test_files_in_a_stream_are_where_the_client_asked(gateway, alice, streaming, finish):
    body = {"input": {"text": "x"}}
    host = gateway.url.removeprefix("http://127.0.0.1:")
    made, _ = await answer(gateway, alice, "POST", f"/models/{streaming}/predictions", f"localhost:{host}", json=body)
    file = delivery_url(gateway.parts.signing_key, gateway.parts.public_urls.first, "outputs/a/b.png", _in_an_hour())
    await finish(made["id"], output=[file])
    stream = made["urls"]["stream"].replace("localhost", "127.0.0.1")
    for name in ("localhost", "127.0.0.1"):
        async with gateway.http.get(stream, headers={"Host": f"{name}:{host}"}) as response:
            text = await response.text()
        (sent,) = re.findall(r"^data: (http\S+)", text, re.MULTILINE)
        assert sent == file.replace("127.0.0.1:8300", f"{name}:{host}")


@pytest.mark.parametrize(
    ("host", "hook", "kept"),
    [
        ("mill.lan:8300", "https://example.com/hook", SECOND),
        ("tide.example", "https://example.com/hook", None),
        ("evil.example", "https://example.com/hook", None),
        ("mill.lan:8300", None, None),
    ],
)
async def test_webhooks_know_by_which_url_the_create_came(listed, alice, echo, host, hook, kept):
    for headers in ({}, {"Idempotency-Key": f"{host} {hook}"}):
        body = {"input": {"text": "x"}, "webhook": hook}
        made, _ = await answer(listed, alice, "POST", f"/models/{echo}/predictions", host, json=body, headers=headers)
        value = await listed.parts.database.value("SELECT public_url FROM prediction WHERE id = $1", made["id"])
        assert value == kept

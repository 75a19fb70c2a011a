"""Inputs given as URLs of every kind reach models as bytes, and no URL of a user's reaches what it may not."""

import base64
import functools
import gzip
import itertools
from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp
import psutil
import pytest
from aiohttp import web

from tidemill.runtime.config import ObjectStoreConfig, load
from tidemill.runtime.objects.store import Objects
from tidemill.stack.home import snapshot
from tidemill.testing.running import until

CONTENT = bytes(range(256)) * 30
BUSY_TIMES = 3  # more than a file is tried where nobody says when to come back
CLIENTS = ["python_1", "python_2", "javascript"]


class Site(NamedTuple):
    """`url` is a file on an address that the operator allows; `port` also that of a trap where nobody may go."""

    url: str
    port: int
    caught: list[str]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    caught: list[str] = []
    tries = itertools.count()

    async def file(_: web.Request) -> web.Response:
        return web.Response(body=CONTENT, content_type="image/png")

    async def packed(_: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(CONTENT), headers={"Content-Encoding": "gzip"}, content_type="image/png")

    async def busy(_: web.Request) -> web.Response:
        if next(tries) < BUSY_TIMES:
            return web.Response(status=429, headers={"Retry-After": "1"})
        return web.Response(body=CONTENT, content_type="image/png")

    async def jump(request: web.Request) -> web.Response:
        raise web.HTTPFound(request.query["to"])

    async def trap(request: web.Request) -> web.Response:
        caught.append(str(request.url))
        return web.Response(text="secret")

    outside, inside = web.Application(), web.Application()
    outside.router.add_get("/file.png", file)
    outside.router.add_get("/packed.png", packed)
    outside.router.add_get("/busy.png", busy)
    outside.router.add_route("*", "/jump", jump)
    inside.router.add_route("*", "/{path:.*}", trap)
    runners, port = [], 0
    for app, host in ((outside, "127.0.0.1"), (inside, "127.0.0.2")):
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        port = runner.addresses[0][1]
        runners.append(runner)
    yield Site(f"http://127.0.0.1:{port}/file.png", port, caught)
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def uploaded(stack):
    """The id of a file of the local account."""
    form = aiohttp.FormData()
    form.add_field("content", CONTENT, filename="given.png")
    async with stack.session() as http, http.post("/v1/files", data=form) as response:
        assert response.status == 201
        return (await response.json())["id"]


@pytest.mark.parametrize("client", CLIENTS)
async def test_every_client_may_give_every_kind_of_url(client, request, stack, site, uploaded):
    run = request.getfixturevalue(client)
    urls = [
        site.url,
        f"data:image/png;base64,{base64.b64encode(CONTENT).decode()}",
        *(f"{stack.base_url}{base}/files/{uploaded}" for base in ("", "/v1", "/v1/v1")),
    ]
    for url in urls:
        result = await run("file_of", model="local/e2e_file", url=url)
        assert result["type"] == "FileOutput"
        assert base64.b64decode(result["content"]) == CONTENT[::-1], url[:80]


@pytest.mark.parametrize("name", ["packed.png", "busy.png"])
async def test_an_input_that_is_compressed_or_whose_server_is_busy_is_brought(stack, site, name):
    """Object stores serve what they hold compressed, and many limit how often they are asked."""
    body = {"version": "local/e2e_file", "input": {"image": site.url.replace("file.png", name)}}
    async with stack.session() as http:
        async with http.post("/v1/predictions", json=body, headers={"Prefer": "wait"}) as response:
            done = await response.json()
        assert done["status"] == "succeeded", done
        async with http.get(done["output"]) as response:
            assert await response.read() == CONTENT[::-1]


async def test_half_an_emoji_in_a_body_is_called_that(stack):
    body = rb'{"version": "local/e2e_text", "input": {"text": "\ud83d"}}'
    async with (
        stack.session() as http,
        http.post("/v1/predictions", data=body, headers={"Content-Type": "application/json"}) as response,
    ):
        problem = await response.json()
    assert response.status == 400
    assert "\\ud83d at byte 49 is half of a character" in problem["detail"], problem


def listening(stack) -> set[int]:
    """All TCP ports of the stack's processes, whatever they are for."""
    current = snapshot.read(stack.home / "run.json")
    processes = [psutil.Process(part.pid) for part in current.parts if part.pid]
    supervisor = psutil.Process(current.pid)
    all_of_it = {supervisor, *supervisor.children(recursive=True), *processes}
    found = set()
    for process in all_of_it:
        connections = process.net_connections("tcp")
        found |= {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}
    return found


async def test_with_loopback_allowed_no_account_reaches_the_platforms_own_ports(stack, new_token):
    """As one who reads the outputs of another through a part of the object store that asks for no key."""
    victim, thief = ({"Authorization": f"Bearer {new_token(name)}"} for name in ("victim", "thief"))
    given = f"data:image/png;base64,{base64.b64encode(CONTENT).decode()}"
    async with aiohttp.ClientSession(base_url=stack.base_url) as http:

        async def run(headers, **body):
            body = {"version": "local/e2e_file", **body}
            async with http.post("/v1/predictions", json=body, headers={**headers, "Prefer": "wait"}) as response:
                made = await response.json()
                assert response.status == 201, made

            async def ended():
                async with http.get(f"/v1/predictions/{made['id']}", headers=headers) as response:
                    now = await response.json()
                return now if now["status"] not in {"starting", "processing"} else None

            return await until(f"the end of {body}", ended)

        done = await run(victim, input={"image": given})
        assert done["status"] == "succeeded", done
        objects = Objects(load(ObjectStoreConfig, stack.env))
        async with objects:
            (key,) = [each.object_name for each in await objects.list(f"outputs/{done['id']}/")]
        path = f"/buckets/{stack.env['TIDEMILL_S3_BUCKET']}/{key}"
        ports = listening(stack)
        assert len(ports) > 10

        async def refused(port):
            """A service that was started last is known to the others soon."""
            failed = await run(thief, input={"image": f"http://127.0.0.1:{port}{path}"})
            assert failed["error_code"] == "input_fetch_failed", (port, failed)
            return "its address or port is not allowed" in failed["error"]

        for port in sorted(ports):
            await until(f"port {port} is refused", functools.partial(refused, port), within_s=60)
        for port in sorted(ports):
            hook = f"http://127.0.0.1:{port}{path}"
            await run(thief, input={"image": given}, webhook=hook, webhook_events_filter=["completed"])

        async def deliveries():
            async with http.get("/v1/webhooks/deliveries", headers=thief) as response:
                found = (await response.json())["results"]
            return found if len(found) >= len(ports) and all(each["tries"] for each in found) else None

        for delivery in await until("a try of each webhook", deliveries):
            assert (delivery["last_status"], "not allowed" in delivery["last_error"]) == (None, True), delivery


FORBIDDEN = [
    "http://127.0.0.2:{port}/",
    "http://127.2:{port}/",
    "http://2130706434:{port}/",
    "http://0x7f000002:{port}/",
    "http://0177.0.0.2:{port}/",
    "http://[::ffff:127.0.0.2]:{port}/",
    "http://[64:ff9b::7f00:2]:{port}/",
    "http://u:p@127.0.0.2:{port}/",
    "http://127.0.0.1@127.0.0.2:{port}/",
    "http://localhost.:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/",
    "http://[fd00:ec2::254]/",
    "http://127.0.0.1:{port}/jump?to=http://127.0.0.2:{port}/",
    "http://127.0.0.1:{port}/jump?to=//127.0.0.2:{port}/",
    "http://127.0.0.1:{port}/jump?to=http://[::ffff:127.0.0.2]:{port}/",
    "http://127.0.0.1:{port}/jump?to=file:///etc/passwd",
]


async def created(http, **body):
    async with http.post("/v1/predictions", json=body) as response:
        return response.status, await response.json()


async def test_an_input_leads_to_no_forbidden_address(stack, site):
    async with stack.session() as http:

        async def ended(prediction_id):
            async with http.get(f"/v1/predictions/{prediction_id}") as response:
                now = await response.json()
            return now if now["status"] not in {"starting", "processing"} else None

        for form in FORBIDDEN:
            url = form.format(port=site.port)
            status, made = await created(http, version="local/e2e_file", input={"image": url})
            if status == 422:
                continue
            assert status == 201, made
            failed = await until(f"the end of {url}", lambda made=made: ended(made["id"]))
            assert (failed["status"], failed["error_code"]) == ("failed", "input_fetch_failed"), url
            assert "secret" not in failed["error"]
            assert "127.0.0.2" not in failed["error"].replace(url, "")
    assert site.caught == []


async def test_a_webhook_leads_to_no_forbidden_address(stack, site):
    async with stack.session() as http:

        async def given_up(prediction_id):
            async with http.get("/v1/webhooks/deliveries", params={"prediction": prediction_id}) as response:
                (delivery,) = (await response.json())["results"] or [None]
            return delivery if delivery and delivery["tries"] else None

        for form in FORBIDDEN:
            url = form.format(port=site.port)
            status, made = await created(
                http,
                version="local/e2e_text",
                input={"text": "x"},
                webhook=url,
                webhook_events_filter=["completed"],
            )
            if status == 422:
                continue
            assert status == 201, made
            delivery = await until(f"a try at {url}", lambda made=made: given_up(made["id"]))
            assert delivery["last_error"], url
            assert delivery["last_status"] in {None, 302}, url
    assert site.caught == []


async def test_files_are_streamed_as_files_and_text_is_not(stack, javascript):
    """The JavaScript client goes by the stream's path."""
    streamed = await javascript("stream_files", model="local/e2e_files", given={"text": "one two three"})
    assert streamed == [{"type": "FileOutput", "text": word} for word in ("one", "two", "three")]
    async with stack.session() as http:
        paths = []
        for model in ("e2e_files", "e2e_tokens", "e2e_text"):
            _, made = await created(http, version=f"local/{model}", input={"text": "x"})
            async with http.get(f"/v1/predictions/{made['id']}") as response:
                assert (await response.json())["urls"] == made["urls"]
            paths.append(made["urls"].get("stream", "").removeprefix(stack.base_url).rpartition("/")[0])
    assert paths == ["/v1/files/streams", "/v1/streams", ""]

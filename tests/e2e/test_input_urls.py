"""Inputs given as URLs of every kind reach models as bytes, and no URL of a user's reaches what it may not."""

import base64
from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp
import pytest
from aiohttp import web

from tidemill.testing.running import until

CONTENT = bytes(range(256)) * 30
CLIENTS = ["python_1", "python_2", "javascript"]


class Site(NamedTuple):
    """`url` is a file on an address that the operator allows; `port` also that of a trap where nobody may go."""

    url: str
    port: int
    caught: list[str]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    caught: list[str] = []

    async def file(_: web.Request) -> web.Response:
        return web.Response(body=CONTENT, content_type="image/png")

    async def jump(request: web.Request) -> web.Response:
        raise web.HTTPFound(request.query["to"])

    async def trap(request: web.Request) -> web.Response:
        caught.append(str(request.url))
        return web.Response(text="secret")

    outside, inside = web.Application(), web.Application()
    outside.router.add_get("/file.png", file)
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

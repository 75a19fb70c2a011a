"""The documentation over HTTP, and what every route has: prefixes, slashes, HEAD, OPTIONS."""

import json
import re
from urllib.parse import urljoin

import pytest

from tidemill.gateway.call import Route
from tidemill.gateway.triggers import ROUTES

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def test_the_openapi_document_needs_no_token_and_is_not_sent_twice(gateway):
    async with gateway.http.get(f"{gateway.url}/openapi.json") as response:
        assert (response.status, response.content_type) == (200, "application/json")
        document, tag = json.loads(await response.read()), response.headers["ETag"]
    assert document["servers"] == [{"url": f"{gateway.url}/v1"}]
    async with gateway.http.get(f"{gateway.url}/v1/openapi.json", headers={"If-None-Match": tag}) as response:
        assert (response.status, await response.read()) == (304, b"")
    async with gateway.http.get(f"{gateway.url}/openapi.json", headers={"If-None-Match": '"old"'}) as response:
        assert response.status == 200


@pytest.mark.parametrize("path", ["/docs/api", "/docs/reference/files", "/docs"])
async def test_pages_are_html_for_browsers_and_markdown_for_programs(gateway, path):
    async with gateway.http.get(gateway.url + path, headers=BROWSER) as response:
        assert (response.status, response.content_type) == (200, "text/html")
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "<h1" in await response.text()
    for accept in ("*/*", "text/markdown", "text/markdown, text/html;q=0.5"):
        async with gateway.http.get(gateway.url + path, headers={"Accept": accept}) as response:
            assert (response.status, response.content_type) == (200, "text/markdown")
            assert "# " in await response.text()


async def test_a_name_with_md_is_markdown_also_for_browsers(gateway):
    async with gateway.http.get(f"{gateway.url}/docs/api.md", headers=BROWSER) as response:
        assert response.content_type == "text/markdown"


async def test_the_index_for_programs_leads_to_every_page(gateway):
    async with gateway.http.get(f"{gateway.url}/docs/llms.txt") as response:
        assert (response.status, response.content_type) == (200, "text/plain")
        text = await response.text()
    links = [line.partition("](")[2].rstrip(")") for line in text.splitlines() if line.startswith("- [")]
    assert len(links) > 5
    for link in links:
        async with gateway.http.get(link) as response:
            assert response.status == 200, link


async def test_links_of_the_pages_lead_somewhere(gateway):
    """From page to page as a browser would."""
    left, seen = [f"{gateway.url}/v1/docs"], set()
    while left:
        page = left.pop()
        async with gateway.http.get(page, headers=BROWSER) as response:
            assert response.status == 200, page
            text = await response.text() if response.content_type == "text/html" else ""
        for target in re.findall(r'href="([^"#]+)', text):
            link = urljoin(page, target)
            if link.startswith(gateway.url) and link not in seen:
                seen.add(link)
                left.append(link)
    assert len(seen) > 20


@pytest.mark.parametrize("path", ["/docs/nothing", "/docs/..%2Fapi", "/docs/reference/nothing", "/docs/reference/api"])
async def test_other_pages_are_missing(gateway, path):
    async with gateway.http.get(gateway.url + path) as response:
        assert (response.status, response.content_type) == (404, "application/problem+json")


def _path(route: Route) -> str:
    return route.path.replace("{", "").replace("}", "")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation.name)
async def test_options_lists_the_methods_of_every_path(gateway, route):
    for prefix in ("/v1", "", "/v1/v1"):
        for slash in ("", "/"):
            async with gateway.http.options(f"{gateway.url}{prefix}{_path(route)}{slash}") as response:
                assert response.status == 204
                allowed = set(response.headers["Allow"].split(", "))
                assert {route.method, "OPTIONS"} <= allowed
                assert ("HEAD" in allowed) == ("GET" in allowed)


async def test_options_of_an_unknown_path_is_missing(gateway):
    async with gateway.http.options(f"{gateway.url}/v1/nothing") as response:
        assert response.status == 404


async def test_a_preflight_allows_the_methods_there_are(gateway):
    headers = {"Origin": "https://app.example", "Access-Control-Request-Method": "PATCH"}
    async with gateway.http.options(f"{gateway.url}/v1/account", headers=headers) as response:
        assert response.status == 204
        allowed = set(response.headers["Access-Control-Allow-Methods"].split(", "))
        assert {route.method for route in ROUTES} <= allowed
        assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"


async def test_pages_of_another_origin_can_read_the_headers_that_say_something(gateway, alice, echo):
    origin = {"Origin": "https://app.example", **alice.headers}
    create = {"url": f"{gateway.url}/v1/predictions", "json": {"version": echo, "input": {"text": "x"}}}
    for _ in range(2):  # the second is a repetition
        headers = {**origin, "Idempotency-Key": echo, "Prefer": "wait=0"}
        async with gateway.http.post(**create, headers=headers) as response:
            assert response.status == 201
            sent = {*response.headers}
            readable = {name.strip() for name in response.headers["Access-Control-Expose-Headers"].split(",")}
    said = {"Location", "Preference-Applied", "Idempotent-Replayed"}
    assert said <= sent & readable
    assert {"Content-Range", "Content-Disposition", "ETag", "Repr-Digest", "Retry-After"} <= readable


async def test_head_answers_as_get_without_the_body(gateway, alice):
    for path in ("/v1/account", "/v1/models/", "/v1/v1/predictions"):
        async with gateway.http.head(gateway.url + path, headers=alice.headers) as response:
            assert (response.status, await response.read()) == (200, b"")
            assert int(response.headers["Content-Length"]) > 2

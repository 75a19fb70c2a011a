"""The two pages that a browser gets where no website is; programs get JSON at the same addresses."""

import json

import pytest

from tidemill.contracts.ids import new_id
from tidemill.security.delivery_urls import delivery_url

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
FAR = 2**32 - 1


async def asked(gateway, path, headers):
    async with gateway.http.get(f"{gateway.url}{path}", headers=headers) as response:
        if response.content_type == "text/html":
            assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert response.headers["Vary"] == "Accept"
        return response.status, response.content_type, await response.text()


@pytest.fixture
async def made(gateway, alice, echo, finish):
    """A prediction with a file, a text and markup in its output."""
    body = {"input": {"text": "<b>bold</b>", "key": "hidden"}}
    status, prediction = await gateway.ask("POST", f"/models/{echo}/predictions", alice, json=body)
    assert status == 201
    base, key = gateway.parts.public_urls.first, gateway.parts.signing_key
    file = delivery_url(key, base, f"outputs/{prediction['id']}/boat.png", FAR)
    await finish(prediction["id"], output=[file, "<script>alert(1)</script>", "https://evil.example/x.png"])
    return prediction["id"]


async def test_the_start_is_a_page_for_browsers_and_missing_for_programs(gateway):
    status, kind, text = await asked(gateway, "/", BROWSER)
    assert (status, kind) == (200, "text/html")
    assert f'href="{gateway.url}/v1/docs"' in text
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        status, kind, text = await asked(gateway, "/", headers)
        assert (status, kind, json.loads(text)["status"]) == (404, "application/problem+json", 404)


async def test_a_shared_prediction_is_a_page_of_text(gateway, alice, made):
    await gateway.ask("POST", f"/predictions/{made}/share", alice)
    status, kind, text = await asked(gateway, f"/p/{made}", BROWSER)
    assert (status, kind) == (200, "text/html")
    assert f'<img src="{gateway.url}/v1/delivery/' in text
    assert "&lt;script&gt;" in text
    assert "&lt;b&gt;bold" in text
    assert "<script" not in text
    assert 'src="https://evil' not in text
    assert "hidden" not in text, "a secret input"


@pytest.mark.parametrize("shared", [False, True])
async def test_urls_web_is_json_for_programs(gateway, alice, mallory, made, shared):
    if shared:
        await gateway.ask("POST", f"/predictions/{made}/share", alice)
    for account in (alice, mallory):
        there = await asked(gateway, f"/p/{made}", account.headers)
        assert there[:2] == (await asked(gateway, f"/v1/predictions/{made}", account.headers))[:2]
        assert there[0] == (200 if shared or account is alice else 404)
    assert (await asked(gateway, f"/p/{made}", {}))[0] == (200 if shared else 401)


async def test_what_is_not_shared_looks_to_a_browser_as_what_is_missing(gateway, made):
    private, missing = made, new_id()
    pages = [await asked(gateway, f"/p/{each}", BROWSER) for each in (private, missing)]
    assert [page[:2] for page in pages] == [(401, "text/html")] * 2
    assert pages[0][2].replace(private, "") == pages[1][2].replace(missing, "")
    assert "bold" not in pages[0][2]

import hashlib
import time

import pytest

from tidemill.contracts.ids import new_id
from tidemill.security.delivery_urls import delivery_url


@pytest.fixture
async def deliver(gateway):
    async def put(body: bytes, name: str, kind: str, expires_at: int | None = None) -> str:
        key = f"outputs/{new_id()}/{name}"
        await gateway.parts.objects.put(key, body, kind)
        expires_at = int(time.time()) + 60 if expires_at is None else expires_at
        return delivery_url(gateway.parts.signing_key, gateway.url, key, expires_at)

    return put


async def test_the_whole_and_its_headers(gateway, deliver):
    url = await deliver(b"0123456789", "out.png", "image/png")
    async with gateway.http.get(url) as response:
        assert response.status == 200
        assert await response.read() == b"0123456789"
        assert response.headers["Content-Type"] == "image/png"
        assert response.headers["Content-Disposition"] == 'inline; filename="out.png"'
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Security-Policy"].startswith("sandbox;")
    async with gateway.http.head(url) as response:
        assert response.status == 200
        assert response.headers["Content-Length"] == "10"


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/pdf", "application/xml"])
async def test_what_could_run_is_a_download(gateway, deliver, kind):
    async with gateway.http.get(await deliver(b"<script>", "a\u00e9.html", kind)) as response:
        assert (
            response.headers["Content-Disposition"] == "attachment; filename=\"a_.html\"; filename*=UTF-8''a%C3%A9.html"
        )


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        ("bytes=2-4", 206, b"234"),
        ("bytes=-3", 206, b"789"),
        ("bytes=7-", 206, b"789"),
        ("lines=1-2", 200, b"0123456789"),
    ],
)
async def test_ranges(gateway, deliver, asked, status, body):
    async with gateway.http.get(
        await deliver(b"0123456789", "a.bin", "video/mp4"), headers={"Range": asked}
    ) as response:
        assert (response.status, await response.read()) == (status, body)
        assert ("Content-Range" in response.headers) == (status == 206)


async def test_a_range_outside(gateway, deliver):
    url = await deliver(b"0123456789", "a.bin", "video/mp4")
    async with gateway.http.get(url, headers={"Range": "bytes=50-60"}) as response:
        assert response.status == 416


async def test_bad_expired_and_missing_look_alike(gateway, deliver):
    good = await deliver(b"x", "a.bin", "video/mp4")
    missing = delivery_url(gateway.parts.signing_key, gateway.url, "outputs/none", int(time.time()) + 60)
    foreign = delivery_url(b"k" * 32, gateway.url, "outputs/none", int(time.time()) + 60)
    bodies = set()
    for url in (good.replace("delivery/a", "delivery/b"), await deliver(b"x", "a", "video/mp4", 1), missing, foreign):
        async with gateway.http.get(url) as response:
            assert response.status == 404
            bodies.add(await response.read())
    assert len(bodies) == 1


async def asked(gateway, url, method="GET", **headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    async with gateway.http.request(method, url, headers=fields) as response:
        return response.status, await response.read(), response.headers


async def test_who_has_it_already_gets_no_bytes(gateway, deliver):
    url = await deliver(b"0123456789", "a.bin", "video/mp4")
    _, _, first = await asked(gateway, url)
    etag, modified = first["ETag"], first["Last-Modified"]
    assert etag == f'"{hashlib.md5(b"0123456789").hexdigest()}"'
    for method in ("GET", "HEAD"):
        for conditions in (
            {"If_None_Match": etag},
            {"If_None_Match": f'"x", W/{etag}'},
            {"If_None_Match": "*"},
            {"If_Modified_Since": modified},
            {"If_None_Match": etag, "Range": "bytes=2-4"},
            {"If_None_Match": etag, "Range": "bytes=50-60"},
        ):
            status, body, headers = await asked(gateway, url, method, **conditions)
            assert (status, body) == (304, b""), conditions
            assert (headers["ETag"], headers["Cache-Control"]) == (etag, first["Cache-Control"])
    for conditions in (
        {"If_None_Match": '"x"', "If_Modified_Since": modified},
        {"If_Modified_Since": "Wed, 21 Oct 2015 07:28:00 GMT"},
        {"If_Modified_Since": "nonsense"},
        {"If_Match": etag},
        {"If_Match": "*"},
        {"If_Unmodified_Since": modified},
    ):
        assert (await asked(gateway, url, **conditions))[:2] == (200, b"0123456789"), conditions


async def test_a_condition_that_fails_is_said(gateway, deliver):
    url = await deliver(b"0123456789", "a.bin", "video/mp4")
    for method in ("GET", "HEAD"):
        for conditions in (
            {"If_Match": '"x"'},
            {"If_Match": '"x"', "Range": "bytes=2-4"},
            {"If_Match": '"x"', "Range": "bytes=50-60"},
            {"If_Unmodified_Since": "Wed, 21 Oct 2015 07:28:00 GMT"},
        ):
            assert (await asked(gateway, url, method, **conditions))[0] == 412, conditions


async def test_a_range_is_for_those_who_have_the_rest(gateway, deliver):
    url = await deliver(b"0123456789", "a.bin", "video/mp4")
    _, _, first = await asked(gateway, url)
    for validator in (first["ETag"], first["Last-Modified"]):
        status, body, headers = await asked(gateway, url, Range="bytes=2-4", If_Range=validator)
        assert (status, body, headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    for validator in ('"x"', f"W/{first['ETag']}", "Wed, 21 Oct 2015 07:28:00 GMT", "nonsense"):
        for asked_range in ("bytes=2-4", "bytes=50-60"):
            status, body, headers = await asked(gateway, url, Range=asked_range, If_Range=validator)
            assert (status, body) == (200, b"0123456789")
            assert "Content-Range" not in headers
    status, _, headers = await asked(gateway, url, Range="bytes=50-60", If_Range=first["ETag"])
    assert (status, headers["Content-Range"]) == (416, "bytes */10")


async def test_a_head_has_no_part(gateway, deliver):
    status, body, headers = await asked(
        gateway, await deliver(b"0123456789", "a", "video/mp4"), "HEAD", Range="bytes=2-4"
    )
    assert (status, body, headers["Content-Length"], headers["Accept-Ranges"]) == (200, b"", "10", "bytes")

import base64
import hashlib
import io
import time
from urllib.parse import urlencode

import aiohttp

from tidemill.gateway.handlers.files import files_secret
from tidemill.security.capability import sign_download


def form(content: bytes, **fields: str) -> aiohttp.FormData:
    data = aiohttp.FormData()
    data.add_field("content", io.BytesIO(content), filename="note.txt", content_type="text/plain")
    for name, value in fields.items():
        data.add_field(name, value)
    return data


async def upload(gateway, account, content=b"hello", **fields):
    async with gateway.http.post(
        f"{gateway.url}/v1/files", data=form(content, **fields), headers=account.headers
    ) as response:
        assert response.status == 201, await response.text()
        return await response.json()


def download_url(gateway, account, file_id, expiry=None):
    expiry = int(time.time()) + 60 if expiry is None else expiry
    secret = files_secret(gateway.parts.signing_key, account.id)
    query = {"owner": account.username, "expiry": expiry}
    query["signature"] = sign_download(secret, account.username, file_id, expiry)
    return f"{gateway.url}/v1/files/{file_id}/download?{urlencode(query)}"


async def test_round_trip(gateway, alice):
    file = await upload(gateway, alice, metadata='{"a": 1}')
    assert set(file) == {
        "id", "name", "content_type", "size", "etag", "checksums", "metadata", "created_at", "expires_at", "urls",
    }  # fmt: skip
    assert file["name"] == "note.txt"
    assert file["size"] == 5
    assert file["etag"] == file["checksums"]["md5"] == hashlib.md5(b"hello").hexdigest()
    assert file["checksums"]["sha256"] == hashlib.sha256(b"hello").hexdigest()
    assert file["metadata"] == {"a": 1}
    async with gateway.http.get(f"{gateway.url}/files/{file['id']}", headers=alice.headers) as response:
        assert await response.json() == file
    async with gateway.http.get(f"{gateway.url}/v1/files/", headers=alice.headers) as response:
        assert [each["id"] for each in (await response.json())["results"]] == [file["id"]]
    async with gateway.http.get(download_url(gateway, alice, file["id"])) as response:
        assert await response.read() == b"hello"
    async with gateway.http.delete(f"{gateway.url}/v1/files/{file['id']}", headers=alice.headers) as response:
        assert response.status == 204
    for url in (f"{gateway.url}/v1/files/{file['id']}", download_url(gateway, alice, file["id"])):
        async with gateway.http.get(url, headers=alice.headers) as response:
            assert response.status == 404
            assert (await response.json())["detail"] == "File not found"


async def test_whoever_has_the_signed_url_gets_the_bytes_and_their_checksums(gateway, alice):
    file = await upload(gateway, alice, "hello, wörld".encode())
    url = file["urls"]["download"]
    async with gateway.http.get(url) as response:
        body = await response.read()
        assert response.headers["ETag"] == f'"{file["etag"]}"' == f'"{hashlib.md5(body).hexdigest()}"'
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        assert response.headers["Repr-Digest"] == f"sha-256=:{digest}:"
        assert bytes.fromhex(file["checksums"]["sha256"]) == hashlib.sha256(body).digest()
        assert response.headers["Content-Disposition"] == 'inline; filename="note.txt"'
    async with gateway.http.get(url, headers={"If-None-Match": f'"{file["etag"]}"'}) as response:
        assert response.status == 304
    async with gateway.http.get(url, headers={"Range": "bytes=0-4"}) as response:
        assert (response.status, await response.read()) == (206, b"hello")
    async with gateway.http.get(f"{gateway.url}/v1/files/{file['id']}", headers=alice.headers) as response:
        assert (await response.json())["urls"] == file["urls"]


async def test_metadata_as_a_file_part_and_the_name_as_a_field(gateway, alice):
    data = form(b"x", filename="report.bin", type="application/x-thing")
    data.add_field("metadata", b'{"k": "v"}', filename="blob", content_type="application/json")
    async with gateway.http.post(f"{gateway.url}/v1/files", data=data, headers=alice.headers) as response:
        file = await response.json()
    assert (file["name"], file["content_type"], file["metadata"]) == (
        "report.bin",
        "application/x-thing",
        {"k": "v"},
    )


async def test_an_empty_file_and_one_of_many_chunks(gateway, alice):
    for content in (b"", b"0123456789abcdef" * 65536 + b"end"):
        file = await upload(gateway, alice, content)
        async with gateway.http.get(download_url(gateway, alice, file["id"])) as response:
            assert await response.read() == content


async def test_what_is_no_upload(gateway, alice):
    url = f"{gateway.url}/v1/files"
    async with gateway.http.post(url, json={}, headers=alice.headers) as response:
        assert response.status == 415
    empty = aiohttp.FormData({"filename": "x"}, default_to_multipart=True)
    async with gateway.http.post(url, data=empty, headers=alice.headers) as response:
        assert response.status == 422
    async with gateway.http.post(url, data=form(b"x", metadata="[]"), headers=alice.headers) as response:
        assert response.status == 422
    headers = {**alice.headers, "Content-Type": "multipart/form-data; boundary=b"}
    async with gateway.http.post(url, data=b"--b\r\nno form", headers=headers) as response:
        assert response.status == 400
    headers["Content-Type"] = "multipart/form-data"
    async with gateway.http.post(url, data=b"--b\r\nno form", headers=headers) as response:
        assert response.status == 400
    cut = b'--b\r\nContent-Disposition: form-data; name="content"; filename="a"\r\n\r\nhalf'
    headers["Content-Type"] = "multipart/form-data; boundary=b"
    async with gateway.http.post(url, data=cut, headers=headers) as response:
        assert response.status == 400


async def test_more_than_the_limit(gateway, alice):
    headers = {**alice.headers, "Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(200 << 20)}
    reader, writer = await _raw(gateway, "/v1/files", headers)
    assert b"413" in await reader.readline()
    assert b"Files must be less than 100MB in size" in await reader.read(2000)
    writer.close()


async def _raw(gateway, path, headers):
    import asyncio
    from urllib.parse import urlsplit

    url = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
    return reader, writer


async def test_nobody_sees_what_is_somebody_elses(gateway, alice, mallory):
    file = await upload(gateway, alice)
    url = f"{gateway.url}/v1/files/{file['id']}"
    for method in ("GET", "DELETE"):
        async with gateway.http.request(method, url, headers=mallory.headers) as response:
            assert response.status == 404
    async with gateway.http.get(f"{gateway.url}/v1/files", headers=mallory.headers) as response:
        assert (await response.json())["results"] == []
    for bad in (
        download_url(gateway, alice, file["id"], 1),
        download_url(gateway, mallory, file["id"]),
        download_url(gateway, alice, file["id"]).replace(alice.username, mallory.username),
        f"{url}/download",
    ):
        async with gateway.http.get(bad) as response:
            assert response.status == 404

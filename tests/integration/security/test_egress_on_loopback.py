import asyncio
import gzip
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from tidemill.security.egress import client as egress_client
from tidemill.security.egress import resolver as egress_resolver
from tidemill.security.egress.client import MAX_REDIRECTS, Download, EgressClient
from tidemill.security.egress.errors import EgressDenied, EgressFailed, EgressTimeout, EgressTooLarge
from tidemill.security.egress.policy import AllowList, EgressPolicy
from tidemill.security.egress.reserved_endpoints import ReservedEndpoints

GENEROUS_S = 30.0
StartOrigin = Callable[..., Awaitable["Origin"]]
MakeClient = Callable[..., EgressClient]
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Origin:
    """A server that answers each path with exact bytes, and remembers who came."""

    def __init__(self, host: str, answers: dict[str, bytes | Answer], greeting: bytes = b"") -> None:
        self.host = host
        self.greeting = greeting
        self.answers = answers
        self.connections = 0
        self.requests: list[bytes] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, port, ssl=tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.at = f"{self.host}:{self.port}"

    async def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            writer.write(self.greeting)
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(x[15:]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length:")), 0)
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers[head.split()[1].decode()]
                if callable(answer):
                    await answer(writer)
                else:
                    writer.write(answer)
                    await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            writer.close()


class Names(AbstractResolver):
    """Answers each look-up of a name with its next answer; the last one stays."""

    def __init__(self, answers: dict[str, list[list[str]]]) -> None:
        self.answers = answers

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answers = self.answers.get(host)
        if not answers:
            raise OSError(None, "no such name at 10.0.0.53")
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0) for each in addresses
        ]

    async def close(self) -> None:
        pass


def ok(body: bytes, *headers: str) -> bytes:
    head = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def redirect(location: str, *headers: str, status: int = 302) -> bytes:
    head = [f"HTTP/1.1 {status} Moved", f"Location: {location}", "Content-Length: 0", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n"


def chunked(chunk: bytes, count: int) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(count):
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    return answer


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def origin(stack: AsyncExitStack) -> StartOrigin:
    async def start(
        answers: dict[str, bytes | Answer],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        greeting: bytes = b"",
        tls: ssl.SSLContext | None = None,
    ) -> Origin:
        made = Origin(host, answers, greeting)
        await made.start(port, tls)
        stack.push_async_callback(made.stop)
        return made

    return start


@pytest.fixture
def client(stack: AsyncExitStack) -> MakeClient:
    """127.0.0.1 is allowed unless the test says otherwise, 127.0.0.2 is where nobody may go."""

    def make(allow: str = "127.0.0.1/32", names: dict[str, list[list[str]]] | None = None) -> EgressClient:
        policy = EgressPolicy(allow=AllowList.parse(allow), allow_http=True)
        made = EgressClient(policy, resolver=None if names is None else Names(names))
        stack.push_async_callback(made.close)
        return made

    return make


async def fetched(egress: EgressClient, url: str, limit_bytes: int = 10**6, timeout_s: float = GENEROUS_S) -> bytes:
    async with egress.fetch(url, limit_bytes=limit_bytes, timeout_s=timeout_s) as download:
        return b"".join([chunk async for chunk in download.chunks])


async def test_a_file_is_fetched_with_its_name_and_type(origin: StartOrigin, client: MakeClient) -> None:
    headers = ("Content-Type: image/PNG; x=y", 'Content-Disposition: attachment; filename="../cat.png"')
    site = await origin({"/f?a=%2Fb": ok(b"x" * 1000, *headers)})
    async with client().fetch(f"http://{site.at}/f?a=%2Fb", limit_bytes=1000, timeout_s=GENEROUS_S) as download:
        assert isinstance(download, Download)
        assert (download.content_type, download.filename, download.size_bytes) == ("image/png", "cat.png", 1000)
        assert b"".join([chunk async for chunk in download.chunks]) == b"x" * 1000


async def test_nothing_personal_is_sent(
    origin: StartOrigin, client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trap = await origin({}, host="127.0.0.2")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://{trap.at}")
    site = await origin({"/a": redirect("/b"), "/b": ok(b"", "Set-Cookie: a=b; Path=/")})
    # A name, because cookie jars ignore addresses, and the address, because netrc has it.
    egress = client(names={"site.test": [["127.0.0.1"]]})
    for host in ("site.test", "site.test", "127.0.0.1"):
        await fetched(egress, f"http://{host}:{site.port}/a")
    for request in site.requests:
        names = {line.split(b":")[0].lower() for line in request.split(b"\r\n")[1:] if line}
        assert names == {b"host", b"user-agent", b"accept", b"accept-encoding"}
        assert b"Accept-Encoding: identity" in request
    assert len(site.requests) == 6
    assert trap.connections == 0


async def test_redirects_are_followed_up_to_the_limit(origin: StartOrigin, client: MakeClient) -> None:
    steps = {f"/{n}": redirect(f"/{n - 1}", status=status) for n, status in enumerate([301, 302, 303, 307], start=1)}
    site = await origin({"/0": ok(b"there"), **steps})
    assert await fetched(client(), f"http://{site.at}/{MAX_REDIRECTS}") == b"there"
    with pytest.raises(EgressFailed, match="redirects"):
        await fetched(client(), f"http://{site.at}/{MAX_REDIRECTS + 1}")


FORBIDDEN = [
    "http://127.0.0.2:{port}/",
    "//127.0.0.2:{port}/",
    "http://127.2:{port}/",
    "http://2130706434:{port}/",
    "http://0x7f000002:{port}/",
    "http://0177.0.0.2:{port}/",
    "http://[::ffff:127.0.0.2]:{port}/",
    "http://[::ffff:7f00:2]:{port}/",
    "http://[64:ff9b::7f00:2]:{port}/",
    "http://[2002:7f00:2::]:{port}/",
    "http://inner.test:{port}/",
    "http://inner.test.:{port}/",
    "http://user:pass@127.0.0.1:{port}/",
    "http://127.0.0.1@127.0.0.2:{port}/",
    "ftp://127.0.0.2:{port}/",
    "file:///etc/passwd",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::1:{port}/",
]


@pytest.mark.parametrize("location", FORBIDDEN)
async def test_no_url_and_no_redirect_reaches_a_forbidden_address(
    origin: StartOrigin, client: MakeClient, location: str
) -> None:
    site = await origin({"/": ok(b"ok")})
    trap = await origin({"/": ok(b"secret")}, host="127.0.0.2")
    url = location.format(port=trap.port)
    site.answers |= {"/jump": redirect(url), "/hop": redirect("/jump")}
    egress = client(names={"inner.test": [["127.0.0.2"]], "inner.test.": [["127.0.0.2"]]})
    for start in (url, f"http://{site.at}/jump", f"http://{site.at}/hop"):
        if start.startswith("//"):
            continue
        with pytest.raises(EgressDenied) as caught:
            await fetched(egress, start)
        assert "127.0.0.2" not in str(caught.value)
    with pytest.raises(EgressDenied):
        await egress.post(url, body=b"x", headers={}, timeout_s=GENEROUS_S)
    assert trap.connections == 0


async def test_another_port_of_an_allowed_address_is_forbidden(origin: StartOrigin, client: MakeClient) -> None:
    other = await origin({"/": ok(b"secret")})
    site = await origin({"/": redirect(f"http://{other.at}/")})
    egress = client(allow=f"127.0.0.1/32:{site.port}", names={"site.test": [["127.0.0.1"]]})
    for url in (f"http://{site.at}/", f"http://site.test:{other.port}/"):
        with pytest.raises(EgressDenied):
            await fetched(egress, url)
    assert (site.connections, other.connections) == (1, 0)


async def test_without_an_allow_list_loopback_is_forbidden(origin: StartOrigin, client: MakeClient) -> None:
    site = await origin({"/": ok(b"secret")})
    with socket.create_server(("127.0.0.1", 0)) as bystander:
        port = bystander.getsockname()[1]
        for url in (f"http://{site.at}/", f"http://localhost:{site.port}/", f"http://127.0.0.1:{port}/"):
            with pytest.raises(EgressDenied):
                await fetched(client(allow=""), url)
    assert site.connections == 0


async def test_a_name_that_changes_its_mind_is_judged_again(origin: StartOrigin, client: MakeClient) -> None:
    site = await origin({"/": ok(b"harmless", "Connection: close"), "/r": redirect("/secret")})
    trap = await origin({"/": ok(b"secret"), "/secret": ok(b"secret")}, host="127.0.0.2", port=site.port)
    egress = client(names={"rebind.test": [["127.0.0.1"], ["127.0.0.2"]]})
    assert await fetched(egress, f"http://rebind.test:{site.port}/") == b"harmless"
    with pytest.raises(EgressDenied):
        await fetched(egress, f"http://rebind.test:{site.port}/")
    assert trap.connections == 0


async def test_a_name_that_changes_its_mind_between_hops_is_judged_again(
    origin: StartOrigin, client: MakeClient
) -> None:
    # Hangs up, for else the second hop may go over the connection of the first, which is judged already.
    site = await origin({"/r": redirect("/secret", "Connection: close")})
    trap = await origin({"/secret": ok(b"secret")}, host="127.0.0.2", port=site.port)
    with pytest.raises(EgressDenied):
        await fetched(
            client(names={"rebind.test": [["127.0.0.1"], ["127.0.0.2"]]}), f"http://rebind.test:{site.port}/r"
        )
    assert (site.connections, trap.connections) == (1, 0)


@pytest.mark.parametrize(
    "answer", [["127.0.0.2", "127.0.0.1"], ["::1", "127.0.0.1"], ["127.0.0.1", "::ffff:127.0.0.2"]]
)
async def test_of_mixed_answers_only_the_permitted_is_dialled(
    origin: StartOrigin, client: MakeClient, answer: list[str]
) -> None:
    site = await origin({"/": ok(b"harmless")})
    trap = await origin({"/": ok(b"secret")}, host="127.0.0.2", port=site.port)
    egress = client(names={"mixed.test": [answer]})
    assert await fetched(egress, f"http://mixed.test:{site.port}/") == b"harmless"
    assert trap.connections == 0


async def test_a_name_with_only_forbidden_addresses_is_denied(client: MakeClient) -> None:
    egress = client(names={"inner.test": [["10.0.0.1", "127.0.0.2", "fd00::1", "::1", "169.254.169.254"]]})
    with pytest.raises(EgressDenied) as caught:
        await fetched(egress, "http://inner.test/")
    assert not any(part in str(caught.value) for part in ("10.", "127.", "fd00", "169."))


async def test_a_listed_name_may_have_any_address_and_others_may_not(origin: StartOrigin, client: MakeClient) -> None:
    site = await origin({"/": ok(b"hello")})
    names = {"hooks.test": [["127.0.0.1"]], "other.test": [["127.0.0.1"]]}
    egress = client(allow=f"hooks.test:{site.port}", names=names)
    assert await fetched(egress, f"http://hooks.test:{site.port}/") == b"hello"
    # The connection to the listed name is idle now, and must not serve another name.
    for host in ("other.test", "127.0.0.1"):
        with pytest.raises(EgressDenied):
            await fetched(egress, f"http://{host}:{site.port}/")
    assert site.connections == 1


async def test_a_body_at_the_limit_passes_and_one_byte_more_does_not(origin: StartOrigin, client: MakeClient) -> None:
    site = await origin({"/known": ok(b"x" * 1000), "/unknown": chunked(b"x" * 100, 10)})
    for path in ("known", "unknown"):
        assert len(await fetched(client(), f"http://{site.at}/{path}", limit_bytes=1000)) == 1000
        with pytest.raises(EgressTooLarge) as caught:
            await fetched(client(), f"http://{site.at}/{path}", limit_bytes=999)
        assert caught.value.limit_bytes == 999


async def test_a_huge_file_is_refused_by_its_announced_size(origin: StartOrigin, client: MakeClient) -> None:
    site = await origin({"/": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n"})
    with pytest.raises(EgressTooLarge):
        await fetched(client(), f"http://{site.at}/")


async def test_an_endless_body_never_exceeds_the_limit(origin: StartOrigin, client: MakeClient) -> None:
    site = await origin({"/": chunked(b"x" * 65_536, 10**9)})
    received_bytes = 0

    async def read_all() -> None:
        nonlocal received_bytes
        async with client().fetch(f"http://{site.at}/", limit_bytes=10**6, timeout_s=GENEROUS_S) as download:
            async for chunk in download.chunks:
                received_bytes += len(chunk)

    with pytest.raises(EgressTooLarge):
        await read_all()
    assert 0 < received_bytes <= 10**6


async def test_a_caller_may_leave_in_the_middle(origin: StartOrigin, client: MakeClient) -> None:
    site = await origin({"/": chunked(b"x" * 65_536, 10**9), "/small": ok(b"hello")})
    egress = client()
    async with egress.fetch(f"http://{site.at}/", limit_bytes=10**12, timeout_s=GENEROUS_S) as download:
        async for _ in download.chunks:
            break
    assert await fetched(egress, f"http://{site.at}/small") == b"hello"


async def silence(_: asyncio.StreamWriter) -> None:
    """Never answers: the connection is held until the client hangs up."""


async def half(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


async def broken(writer: asyncio.StreamWriter) -> None:
    await half(writer)
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("answer", [silence, half])
async def test_slow_servers_time_out(origin: StartOrigin, client: MakeClient, answer: bytes | Answer) -> None:
    site = await origin({"/": answer, "/r": redirect("/")})
    for path in ("", "r"):
        with pytest.raises(EgressTimeout):
            await fetched(client(), f"http://{site.at}/{path}", timeout_s=0.3)


async def test_a_slow_chain_has_one_deadline(origin: StartOrigin, client: MakeClient) -> None:
    async def slow_redirect(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        writer.write(redirect("/"))

    site = await origin({"/": slow_redirect})
    with pytest.raises(EgressTimeout):
        await fetched(client(), f"http://{site.at}/", timeout_s=0.5)


@pytest.mark.parametrize(
    "answer",
    [
        broken,
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ],
)
async def test_broken_answers_are_failures(origin: StartOrigin, client: MakeClient, answer: bytes | Answer) -> None:
    site = await origin({"/": answer})
    with pytest.raises(EgressFailed):
        await fetched(client(), f"http://{site.at}/")


@pytest.mark.parametrize("status", [204, 206, 304, 400, 404, 500])
async def test_other_statuses_are_failures(origin: StartOrigin, client: MakeClient, status: int) -> None:
    site = await origin({"/": f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()})
    with pytest.raises(EgressFailed) as caught:
        await fetched(client(), f"http://{site.at}/")
    assert caught.value.status == status


async def test_a_redirect_without_a_location_is_a_failure(origin: StartOrigin, client: MakeClient) -> None:
    site = await origin({"/": b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"})
    with pytest.raises(EgressFailed, match="302"):
        await fetched(client(), f"http://{site.at}/")


async def test_a_body_that_the_server_compressed_unasked_is_inflated(origin: StartOrigin, client: MakeClient) -> None:
    """Object stores send what they were given compressed, whatever is accepted."""
    content = b"line of text\n" * 500_000
    packed = gzip.compress(content)
    answers: dict[str, bytes | Answer] = {
        "/": ok(packed, "Content-Encoding: gzip", "Content-Type: text/plain"),
        "/x": ok(packed, "Content-Encoding: X-GZIP"),
        "/two": ok(gzip.compress(b"one ") + gzip.compress(b"two") + bytes(512), "Content-Encoding: gzip"),
        "/empty": ok(b"", "Content-Encoding: gzip"),
        "/plain": ok(packed),
        "/file.gz": ok(packed, "Content-Encoding: gzip", "Content-Type: application/gzip"),
    }
    site = await origin(answers)
    egress = client()
    assert await fetched(egress, f"http://{site.at}/", limit_bytes=len(content)) == content
    assert await fetched(egress, f"http://{site.at}/x", limit_bytes=len(content)) == content
    assert await fetched(egress, f"http://{site.at}/two") == b"one two"
    assert await fetched(egress, f"http://{site.at}/empty") == b""
    assert await fetched(egress, f"http://{site.at}/plain") == packed
    assert await fetched(egress, f"http://{site.at}/file.gz") == packed  # the file itself, twice described
    posted = await egress.post(f"http://{site.at}/", body=b"", headers={}, timeout_s=GENEROUS_S)
    assert posted.body_head == packed[:4096]


async def test_a_bomb_is_cut_off_at_the_limit(origin: StartOrigin, client: MakeClient) -> None:
    bomb = gzip.compress(bytes(300 * 10**6))
    site = await origin({"/": ok(bomb, "Content-Encoding: gzip")})
    received_bytes = 0

    async def read_all() -> None:
        nonlocal received_bytes
        async with client().fetch(f"http://{site.at}/", limit_bytes=10**7, timeout_s=GENEROUS_S) as download:
            assert download.size_bytes is None
            async for chunk in download.chunks:
                received_bytes += len(chunk)

    with pytest.raises(EgressTooLarge):
        await read_all()
    assert 0 < received_bytes <= 10**7


@pytest.mark.parametrize(
    ("body", "coding", "words"),
    [
        (b"no gzip", "gzip", "malformed"),
        (gzip.compress(b"text")[:-5], "gzip", "broke off"),
        (gzip.compress(b"text") + b"rubbish", "gzip", "malformed"),
        (b"x", "br", "not understood"),
        (b"x", "gzip, gzip", "not understood"),
    ],
    ids=["no gzip", "cut off", "with something behind", "another coding", "twice"],
)
async def test_a_compressed_body_that_cannot_be_inflated_is_a_failure(
    origin: StartOrigin, client: MakeClient, body: bytes, coding: str, words: str
) -> None:
    site = await origin({"/": ok(body, f"Content-Encoding: {coding}")})
    with pytest.raises(EgressFailed, match=words):
        await fetched(client(), f"http://{site.at}/")


async def test_a_server_that_is_busy_says_when_to_come_back(origin: StartOrigin, client: MakeClient) -> None:
    site = await origin({"/": b"HTTP/1.1 429 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"})
    with pytest.raises(EgressFailed) as caught:
        await fetched(client(), f"http://{site.at}/")
    assert (caught.value.status, caught.value.retry_after_s) == (429, 7.0)


async def test_no_list_opens_what_is_the_platforms_own(origin: StartOrigin) -> None:
    """By address, by other addresses of this machine, by names, and by a redirect."""
    own = await origin({"/": ok(b"secret")})
    site = await origin({"/": ok(b"public"), "/jump": redirect(f"http://127.0.0.1:{own.port}/")})
    reserved = ReservedEndpoints.of([], [(ip_address("127.0.0.1"), own.port)], owned={own.port: {own.port}})
    allow = AllowList.parse(f"127.0.0.0/8, 127.0.0.1:{own.port}, any.test, named.test:{own.port}")
    names = Names({"any.test": [["127.0.0.1"]], "named.test": [["127.0.0.1"]]})
    egress = EgressClient(EgressPolicy(allow=allow, reserved=lambda: reserved, allow_http=True), resolver=names)
    try:
        assert await fetched(egress, f"http://{site.at}/") == b"public"
        assert await fetched(egress, f"http://any.test:{site.port}/") == b"public"
        hosts = ("127.0.0.1", "127.0.0.2", "[::ffff:127.0.0.1]", "any.test", "named.test")
        for url in (f"http://{site.at}/jump", *(f"http://{host}:{own.port}/" for host in hosts)):
            with pytest.raises(EgressDenied):
                await fetched(egress, url)
        for host in hosts:
            with pytest.raises(EgressDenied):
                await egress.post(f"http://{host}:{own.port}/", body=b"", headers={}, timeout_s=GENEROUS_S)
    finally:
        await egress.close()
    assert own.requests == []


async def test_a_host_that_refuses_or_does_not_resolve_is_a_failure_without_details(client: MakeClient) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        for url in (f"http://site.test:{port}/", "http://nowhere.test/"):
            with pytest.raises(EgressFailed) as caught:
                await fetched(client(names={"site.test": [["127.0.0.1"]]}), url)
            assert not any(part in str(caught.value) for part in ("127.", "10.", str(port), "Errno"))


async def test_a_server_that_speaks_no_tls_is_a_failure(origin: StartOrigin, client: MakeClient) -> None:
    site = await origin({"/": ok(b"secret")}, greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(EgressFailed, match="TLS"):
        await fetched(client(), f"https://{site.at}/")
    assert site.requests == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
async def test_a_certificate_that_nobody_trusts_is_a_failure(
    origin: StartOrigin, client: MakeClient, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    arguments = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    arguments += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *arguments], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    site = await origin({"/": ok(b"secret")}, tls=context)
    with pytest.raises(EgressFailed, match="TLS"):
        await fetched(client(), f"https://{site.at}/")
    assert site.requests == []


async def test_a_post_sends_the_exact_bytes_and_reports_any_status(origin: StartOrigin, client: MakeClient) -> None:
    answers = {
        "/ok": ok(b"thanks"),
        "/busy": b"HTTP/1.1 429 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
        "/gone": b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n",
        "/moved": redirect("/ok"),
        "/long": ok(b"x" * 10_000),
    }
    site = await origin(answers)
    egress = client()

    async def post(path: str, body: bytes = b"{}") -> egress_client.PostResponse:
        headers = {"Content-Type": "application/json", "webhook-id": "msg_1"}
        return await egress.post(f"http://{site.at}{path}", body=body, headers=headers, timeout_s=GENEROUS_S)

    assert await post("/ok", b'{"a": "\xc3\xbc"}\xff') == egress_client.PostResponse(200, b"thanks", None)
    assert site.requests[0].endswith(b'\r\n\r\n{"a": "\xc3\xbc"}\xff')
    assert b"webhook-id: msg_1\r\n" in site.requests[0]
    assert (await post("/busy")).retry_after == 7.0
    assert (await post("/gone")).status == 410
    assert (await post("/moved")).status == 302
    assert (await post("/long")).body_head == b"x" * 4096
    assert [request.split()[1] for request in site.requests] == [b"/ok", b"/busy", b"/gone", b"/moved", b"/long"]
    assert site.connections == 1


async def test_a_post_to_a_silent_server_times_out(origin: StartOrigin, client: MakeClient) -> None:
    site = await origin({"/": silence})
    with pytest.raises(EgressTimeout):
        await client().post(f"http://{site.at}/", body=b"", headers={}, timeout_s=0.3)


@pytest.mark.parametrize("answer", [half, broken])
async def test_once_the_status_is_there_the_body_cannot_undo_it(
    origin: StartOrigin, client: MakeClient, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress_client, "BODY_HEAD_TIMEOUT_S", 0.2)
    site = await origin({"/": answer})
    posted = await client().post(f"http://{site.at}/", body=b"", headers={}, timeout_s=GENEROUS_S)
    assert (posted.status, posted.body_head) == (200, b"half")


async def test_a_name_server_that_never_answers_costs_a_timeout_only(
    client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()
    monkeypatch.setattr(egress_resolver, "DNS_TIMEOUT_S", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: answered.wait(GENEROUS_S))
    try:
        with pytest.raises(EgressTimeout):
            await fetched(client(), "http://slow.test/")
    finally:
        answered.set()


async def test_our_resolver_looks_up_real_names() -> None:
    resolver = egress_resolver.IsolatedResolver()
    found = await resolver.resolve("localhost", 80, socket.AF_INET)
    await resolver.close()
    assert {each["host"] for each in found} == {"127.0.0.1"}
    assert {each["port"] for each in found} == {80}


async def test_it_can_be_closed_unused_and_twice() -> None:
    egress = EgressClient(EgressPolicy())
    await egress.close()
    await egress.close()

"""Uploads as nobody honest sends them: each a request to the byte, and the statuses that may answer it."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from tidemill.contracts.limits import MIB

ANSWER_WITHIN_S: Final = 60.0
BLOCK: Final = b"x" * 65_536
ENDLESS_BYTES: Final = 140 * MIB  # over what a form may have; a server that reads on is caught by its memory
HEAD: Final = b'Content-Disposition: form-data; name="content"; filename="a"\r\n'
FORM: Final = "multipart/form-data; boundary=b"


class Hostile(NamedTuple):
    """`body` gives the pieces that follow the head of the request; `hangs_up`: the sender leaves after the last."""

    name: str
    statuses: frozenset[int]
    body: Callable[[], AsyncIterator[bytes]]
    content_type: str = FORM
    length: int | None = None  # what Content-Length says; else the body is chunked
    fields: str = ""  # further header lines
    hangs_up: bool = False


class Answer(NamedTuple):
    """What came back; no status when the sender did not wait for one, or the server broke off."""

    status: int | None
    body: bytes


async def send(url: str, headers: dict[str, str], hostile: Hostile) -> Answer:
    """Sends it as it is, also when the server has had enough of it."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        framing = "Transfer-Encoding: chunked" if hostile.length is None else f"Content-Length: {hostile.length}"
        head = f"POST /v1/files HTTP/1.1\r\nHost: x\r\n{lines}Content-Type: {hostile.content_type}\r\n{framing}\r\n"
        writer.write(f"{head}{hostile.fields}\r\n".encode("latin-1"))
        sending = asyncio.create_task(_send_body(writer, hostile))
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                if hostile.hangs_up:
                    await sending
                    return Answer(None, b"")
                return await _answer(reader)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    finally:
        writer.transport.abort()


async def _send_body(writer: asyncio.StreamWriter, hostile: Hostile) -> None:
    async for piece in hostile.body():
        writer.write(piece if hostile.length is not None else b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
    if hostile.length is None and not hostile.hangs_up:
        writer.write(b"0\r\n\r\n")
        await writer.drain()


async def _answer(reader: asyncio.StreamReader) -> Answer:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        body = await reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
    except (asyncio.IncompleteReadError, ConnectionError):
        return Answer(None, b"")
    return Answer(int(head.split()[1]), body)


def once(*pieces: bytes) -> Callable[[], AsyncIterator[bytes]]:
    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return body


def endless(first: bytes, block: bytes = BLOCK) -> Callable[[], AsyncIterator[bytes]]:
    async def body() -> AsyncIterator[bytes]:
        yield first
        for _ in range(ENDLESS_BYTES // len(block)):
            yield block

    return body


def form(head: bytes, content: bytes = b"x") -> bytes:
    return b"--b\r\n" + head + b"\r\n" + content + b"\r\n--b--\r\n"


def named(filename: bytes) -> bytes:
    return form(b'Content-Disposition: form-data; name="content"; filename="' + filename + b'"\r\n')


def _whole(name: str, statuses: set[int], body: bytes, *, content_type: str = FORM, fields: str = "") -> Hostile:
    return Hostile(name, frozenset(statuses), once(body), content_type, len(body), fields)


def hostile_uploads() -> list[Hostile]:
    refused = frozenset({400})
    over = frozenset({413})
    charset = form(b'Content-Disposition: form-data; name="_charset_"\r\n', BLOCK)
    part = b'--b\r\nContent-Disposition: form-data; name="p"\r\n\r\nx\r\n'
    nested = b"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n"
    return [
        _whole("truncated form", {400}, b"--b\r\n" + HEAD + b"\r\nhalf"),
        _whole("ended within a part's header", {400}, b"--b\r\nContent-Disposition: form-da"),
        Hostile("length is a lie, hangs up", refused, once(form(HEAD)[:-6]), length=10 * MIB, hangs_up=True),
        Hostile("length is too small", frozenset({400}), once(form(HEAD, BLOCK)), length=1000),
        Hostile("announces too much", over, once(b"--b\r\n"), length=200 * MIB),
        Hostile("content without end", over, endless(b"--b\r\n" + HEAD + b"\r\n")),
        Hostile("part that nobody knows, without end", over, endless(part[:-3])),
        Hostile("lines before the first boundary, without end", refused, endless(b"\r\n", b"no boundary\r\n" * 5000)),
        Hostile("line before the first boundary, without end", refused, endless(b"x")),
        Hostile("part's header without end", refused, endless(b"--b\r\nX-A: ")),
        Hostile("part's headers without end", refused, endless(b"--b\r\n", b"X-A: b\r\n" * 8000)),
        Hostile("field without end", frozenset({422}), endless(part.replace(b'"p"', b'"metadata"')[:-3])),
        Hostile("parts without end", refused, endless(part, part * 1000)),
        Hostile("chunks without end of one byte", over, endless(b"--b\r\n" + HEAD + b"\r\n"), fields="X-A: b\r\n"),
        Hostile("hangs up amid chunks", refused, once(b"--b\r\n" + HEAD + b"\r\n", BLOCK), hangs_up=True),
        _whole("boundary is another", {400}, form(HEAD).replace(b"--b", b"--c")),
        _whole("boundary is missing", {400}, form(HEAD), content_type="multipart/form-data"),
        _whole("boundary is empty", {400}, form(HEAD), content_type='multipart/form-data; boundary=""'),
        _whole("boundary is long", {400}, form(HEAD), content_type=f"multipart/form-data; boundary={'b' * 200}"),
        _whole("nested form", {400}, b"--b\r\n" + nested + b"\r\n--b--\r\n"),
        _whole("nested form as the content", {400}, b"--b\r\n" + HEAD + nested + b"\r\n--b--\r\n"),
        _whole("content twice", {422}, b"--b\r\n" + HEAD + b"\r\nx\r\n" + form(HEAD)),
        _whole("charset that is none", {400, 422}, charset),
        _whole("no disposition", {422}, form(b"X: y\r\n")),
        _whole("disposition that cannot be read", {422}, form(b'Content-Disposition: ;;"\r\n')),
        _whole("huge header of a part", {400}, form(b"X: " + BLOCK + b"\r\n" + HEAD)),
        _whole("many headers of a part", {400}, form(b"X: y\r\n" * 1000 + HEAD)),
        _whole("encoded part", {201}, form(HEAD + b"Content-Encoding: gzip\r\n", gzip.compress(bytes(MIB)))),
        _whole("part in base64 that is none", {201}, form(HEAD + b"Content-Transfer-Encoding: base64\r\n", b"=!" * 9)),
        _whole("compressed body", {415}, gzip.compress(form(HEAD)), fields="Content-Encoding: gzip\r\n"),
        _whole("compressed bomb", {415}, gzip.compress(bytes(50 * MIB)), fields="Content-Encoding: deflate\r\n"),
        _whole("no form", {415}, b"{}", content_type="application/json"),
        _whole("type with a line break", {400}, form(HEAD + b"Content-Type: text/plain\r\n\tx: y\r\n")),
        _whole("name with a line break", {201, 400}, named(b"a\r\nX-Evil: 1\r\n")),
        _whole("name with an escaped line break", {201}, named(b"a%0d%0aX-Evil: 1")),
        _whole("name with NUL", {201, 400}, named(b"a\0.txt")),
        _whole("name that is turned round", {201}, named("a\u202egpj.exe".encode())),
        _whole("name of another folder", {201}, named(b"../../etc/passwd")),
        _whole("name of 300 bytes", {201}, named(b"n" * 300 + b".txt")),
        _whole("name in no encoding", {201}, named(b"\xff\xfe\xfd")),
        _whole("name in a foreign encoding", {201}, form(HEAD.replace(b'"a"', b"\"a\"; filename*=x-none''%ff"))),
    ]  # fmt: skip

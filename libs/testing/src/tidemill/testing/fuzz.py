"""Requests of all kinds, most of them wrong, made by hypothesis from the OpenAPI document; and who sends them.

What must never be: an answer of 500 and more, or none at all.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from yarl import URL

from tidemill.testing.world import World

BATCH: Final = 50  # requests of one example, all under way at once
ANSWER_WITHIN_S: Final = 90.0  # a sync wait may take a minute
ENDLESS: Final = frozenset({"/webhooks/listen"})  # streams that end when their client does
BAD_KEPT: Final = 20
LONG: Final = 3000  # characters: more than any limit of a name, a URL or a header that we set
Json = dict[str, Any]


class Request(NamedTuple):
    """As it goes out: `target` is the path with its query."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None


class Report:
    """What came back, by status; and the first of those answers that must not be."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.bad: list[str] = []

    @property
    def sent(self) -> int:
        return sum(self.statuses.values())

    def blame(self, request: Request, what: str) -> None:
        if len(self.bad) < BAD_KEPT:
            self.bad.append(f"{request.method} {request.target[:300]} {request.body!r:.300}: {what[:500]}")


def texts() -> st.SearchStrategy[str]:
    """Short, odd and overlong ones."""
    odd = ("", ".", "..", "%", "%00", "\0", "null", "-1", "0", "1e999", "\ud7ff", "'", '"', "{{", "a" * LONG, "é" * 99)
    return st.one_of(st.text(max_size=12), st.sampled_from(odd))


def values() -> st.SearchStrategy[Any]:
    """Any JSON."""
    numbers = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False))
    leaves = st.one_of(st.none(), st.booleans(), numbers, texts())
    return st.recursive(
        leaves, lambda node: st.lists(node, max_size=4) | st.dictionaries(texts(), node, max_size=4), max_leaves=8
    )


def header_values() -> st.SearchStrategy[str]:
    """Anything that a header may hold; and what those that the API heeds look like, nearly."""
    printable = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
    known = (
        "wait", "wait=1", "wait=0", "wait=-1", "wait=1e9", "wait=61", "5", "4s", "1h1m1s", "99999999h", "*",
        "text/html", "text/markdown", "application/json", "multipart/form-data", "multipart/form-data; boundary=x",
        "bytes=0-", "bytes=5-1", "bytes=-0", "bytes=0-0,2-2", '"tag"', 'W/"tag"', "gzip", "identity", "Bearer x",
        "Token", "x" * LONG,
    )  # fmt: skip
    return st.one_of(st.sampled_from(known), printable.map(str.strip))


HEADER_NAMES: Final = (
    "Prefer", "Cancel-After", "Idempotency-Key", "Accept", "Content-Type", "Content-Encoding", "Range", "If-None-Match",
    "If-Modified-Since", "If-Range", "Last-Event-ID", "Authorization", "Origin", "User-Agent", "traceparent",
    "x-stainless-retry-count", "X-Forwarded-For", "Cookie",
)  # fmt: skip


def requests_of(document: Json, world: World) -> st.SearchStrategy[Request]:
    """Requests for every operation of the document, each as likely as the other."""
    operations = [
        _requests_of(document, world, method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if path not in ENDLESS
    ]
    return st.one_of(operations)


def _requests_of(document: Json, world: World, method: str, path: str, operation: Json) -> st.SearchStrategy[Request]:
    verb = method.removeprefix("x-").upper()
    real = world.values(verb, path) if verb != "DELETE" else {}  # there would soon be nothing left
    declared = operation.get("parameters", ())
    segments = {
        each["name"]: st.one_of(*[st.just(real[each["name"]])] * 3, texts()) if each["name"] in real else texts()
        for each in declared
        if each["in"] == "path"
    }
    names = [each["name"] for each in declared if each["in"] == "query"]
    query = st.lists(st.tuples(st.sampled_from([*names, "cursor", "x"]), texts()), max_size=3)
    headers = st.dictionaries(st.sampled_from(HEADER_NAMES), header_values(), max_size=3)
    known = world.bodies.get(f"{verb} {path}")
    body = (
        _bodies(known, _members(document, operation))
        if "requestBody" in operation
        else st.none() | st.binary(max_size=9)
    )
    return st.builds(
        lambda values, query, headers, body: Request(verb, _target(path, values, query), headers, body),
        st.fixed_dictionaries(segments),
        query,
        headers,
        body,
    )


def _members(document: Json, operation: Json) -> list[str]:
    """Names of the members that a JSON body has."""
    content = operation["requestBody"]["content"] if "requestBody" in operation else {}
    reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    schema = document["components"]["schemas"].get(reference.rpartition("/")[2], {})
    return list(schema.get("properties", {}))


def _bodies(known: Any, members: Sequence[str]) -> st.SearchStrategy[bytes | None]:
    """Bodies that are nearly right, those that are JSON, and bytes."""
    choices: list[st.SearchStrategy[Any]] = [values()]
    if members:
        choices.append(st.dictionaries(st.sampled_from(members), values(), max_size=len(members)))
    if isinstance(known, dict) and not any(isinstance(value, bytes) for value in known.values()):
        choices.append(st.just(known))
        choices.append(
            st.dictionaries(st.sampled_from(list(known)), values(), max_size=2).map(lambda some: {**known, **some})
        )
    json = st.one_of(choices).map(_encoded)
    raw = known if isinstance(known, bytes) else str(known).encode()
    others = st.sampled_from([b"", b"{", b"[" * 5000, b'{"input":' * 2000, b"\xff\xfe", b"null", b"NaN", raw])
    return st.one_of(json, json, others, st.binary(max_size=40))


def _encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _target(path: str, values: dict[str, str], query: Sequence[tuple[str, str]]) -> str:
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", quote(value, safe="", errors="replace"))
    return f"/v1{path}" + (f"?{urlencode(query, errors='replace')}" if query else "")


class Sender:
    """Sends requests with the world's token, unless they bring another, and notes what is answered."""

    def __init__(self, world: World, report: Report) -> None:
        self._world = world
        self._report = report

    async def send(self, batch: Sequence[Request]) -> None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
        connector = aiohttp.TCPConnector(limit=16)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector, auto_decompress=False) as http:
            await asyncio.gather(*(self._send(http, request) for request in batch))

    async def _send(self, http: aiohttp.ClientSession, request: Request) -> None:
        headers = {"Authorization": f"Bearer {self._world.token}", **request.headers}
        url = URL(f"{self._world.base_url}{request.target}", encoded=True)
        try:
            async with http.request(request.method, url, headers=headers, data=request.body) as response:
                text = await response.content.read(1000)
                self._report.statuses[response.status] += 1
                if response.status >= 500:
                    self._report.blame(request, f"{response.status} {text!r}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._report.statuses[0] += 1
            self._report.blame(request, f"no answer: {error!r}")


def fuzz(
    world: World,
    document: Json,
    total: int,
    *,
    seen: Callable[[Report], None] = lambda _report: None,
    same: bool = False,
) -> Report:
    """Sends at least `total` requests: with `same` those of the last time. `seen` is called after each batch."""
    report = Report()
    sender = Sender(world, report)
    examples = max(1, total // BATCH)
    with asyncio.Runner() as runner:

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=same,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(requests_of(document, world), min_size=BATCH, max_size=BATCH))
        def batches(batch: list[Request]) -> None:
            runner.run(sender.send(batch))
            seen(report)

        while report.sent < total:
            batches()
    return report

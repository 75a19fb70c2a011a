import asyncio
import stat
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from tidemill.hosting.files.file_fields import FileField
from tidemill.runtime.objects import retries as retries_module
from tidemill.runtime.objects.retries import Outage, Retries
from tidemill.runtime.objects.store import ObjectMissing, ObjectStoreError
from tidemill.security.capability import InvalidCapability
from tidemill.security.egress.client import Download
from tidemill.security.egress.errors import EgressDenied, EgressFailed, EgressTimeout
from tidemill.security.public_urls import PublicUrls
from tidemill.testing.tasks import shortly
from tidemill.worker.files import inputs as module
from tidemill.worker.files.inputs import InputFetcher, InputFetchError

PUBLIC = "http://gateway.lan:8300"
IMAGE, ALBUM = FileField("image", one=True, many=False), FileField("album", one=False, many=True)
MINE, THEIRS, NOBODYS = (f"01k0000000000000000000000{end}" for end in "abc")


class FakeDatabase:
    async def row(self, _sql, file_id, account):
        if (file_id, account) == (MINE, "me"):
            return {"name": "../my cat.png", "content_type": "image/png", "object_key": f"files/{file_id}"}
        return None


class FakeObjects:
    def __init__(self):
        self.content, self.errors = {}, []

    def retries(self, budget):
        return Retries(budget, Outage("store"))

    @asynccontextmanager
    async def get(self, key):
        if self.errors:
            raise self.errors.pop(0)
        if key not in self.content:
            raise ObjectMissing(key)

        async def chunks(_size):
            yield self.content[key]

        yield SimpleNamespace(content=SimpleNamespace(iter_chunked=chunks))


class FakeEgress:
    def __init__(self):
        self.answers, self.asked, self.active, self.most = {}, [], 0, 0
        self.open = asyncio.Event()  # clear it, and fetches wait
        self.open.set()

    @asynccontextmanager
    async def fetch(self, url, *, limit_bytes, timeout_s):
        self.asked.append(url)
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            await self.open.wait()
            answer = self.answers[url]
            answer = answer.pop(0) if isinstance(answer, list) else answer
            if isinstance(answer, Exception):
                raise answer

            async def chunks():
                for chunk in answer:
                    if isinstance(chunk, Exception):
                        raise chunk
                    yield chunk

            yield Download("image/png", Path(url).name, None, chunks())
        finally:
            self.active -= 1


def delivery_key(url):
    if "genuine" not in url:
        raise InvalidCapability("forged")
    return "outputs/p/1-0/song.wav"


@pytest.fixture
def parts(monkeypatch):
    monkeypatch.setattr(module, "backoffs", lambda: iter([0.0] * 10))
    monkeypatch.setattr(retries_module, "backoffs", lambda: iter([0.0] * 2))
    objects, egress = FakeObjects(), FakeEgress()
    inputs = InputFetcher(FakeDatabase(), objects, egress, public_urls=PublicUrls(PUBLIC), delivery_key=delivery_key)
    return SimpleNamespace(inputs=inputs, objects=objects, egress=egress)


async def bring(parts, folder, **value):
    return await parts.inputs.fetch_files((IMAGE, ALBUM), value, folder, "me")


async def refusal(parts, folder, **value):
    with pytest.raises(InputFetchError) as refused:
        await bring(parts, folder, **value)
    assert not folder.exists()
    return refused.value


async def test_every_kind_of_url(parts, tmp_path):
    parts.objects.content = {f"files/{MINE}": b"mine", "outputs/p/1-0/song.wav": b"song"}
    parts.egress.answers = {"https://x.example/a.png": [[b"on", b"line"]]}
    urls = [
        "https://x.example/a.png",
        f"{PUBLIC}/v1/files/{MINE}",
        f"{PUBLIC}/v1/delivery/genuine/song.wav",
        "data:image/jpeg;base64,QUJD",
    ]
    value = await bring(parts, tmp_path / "in", album=urls, other="https://x.example/stays")
    assert value["other"] == "https://x.example/stays"
    paths = [Path(path) for path in value["album"]]
    assert [path.name for path in paths] == ["a.png", "my cat.png", "song.wav", "file.jpg"]
    assert [path.read_bytes() for path in paths] == [b"online", b"mine", b"song", b"ABC"]
    assert all(path.is_absolute() and path.is_relative_to(tmp_path / "in") for path in paths)
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o444}
    assert stat.S_IMODE((tmp_path / "in").stat().st_mode) == 0o755
    assert stat.S_IMODE(paths[0].parent.stat().st_mode) == 0o755


async def test_no_files_make_no_folder(parts, tmp_path):
    assert await bring(parts, tmp_path / "in", image=None, x=1) == {"image": None, "x": 1}
    assert not (tmp_path / "in").exists()


async def test_files_of_one_name_do_not_meet(parts, tmp_path):
    parts.egress.answers = {f"https://{host}.example/a.png": [[host.encode()]] for host in "abc"}
    value = await bring(parts, tmp_path / "in", album=list(parts.egress.answers))
    assert [Path(path).read_bytes() for path in value["album"]] == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("/etc/passwd", "not an http(s) URL or a data: URI"),
        ("file:///etc/passwd", "not an http(s) URL or a data: URI"),
        ("data:x", "no comma"),
        (f"{PUBLIC}/v1/files/{THEIRS}", "it does not exist or is not yours"),
        (f"{PUBLIC}/v1/files/{NOBODYS}", "it does not exist or is not yours"),
        (f"{PUBLIC}/v1/files/{MINE}", "it does not exist or is not yours"),
        (f"{PUBLIC}/v1/delivery/forged/a.png", "it does not exist any more"),
        (3, "it must be a URL"),
        (["https://x.example"], "it must be a URL"),
    ],
)
async def test_what_is_refused(parts, tmp_path, url, reason):
    error = await refusal(parts, tmp_path / "in", image=url)
    assert error.field == "image"
    assert reason in str(error)
    assert parts.egress.asked == []


async def test_the_policy_has_the_last_word(parts, tmp_path):
    parts.egress.answers = {"http://10.0.0.1/": EgressDenied("its address or port is not allowed")}
    error = await refusal(parts, tmp_path / "in", album=["data:,x", "http://10.0.0.1/"])
    assert str(error) == (
        "The input album.1 could not be fetched: The URL is not allowed: its address or port is not allowed."
    )
    assert len(parts.egress.asked) == 1


async def test_what_may_pass_is_tried_again(parts, tmp_path):
    parts.egress.answers = {
        "https://x.example/a": [EgressTimeout(), [b"half", EgressFailed("it broke off")], [b"whole"]],
    }
    value = await bring(parts, tmp_path / "in", image="https://x.example/a")
    assert Path(value["image"]).read_bytes() == b"whole"


@pytest.mark.parametrize(
    ("error", "asked"),
    [(EgressFailed("status 404", status=404), 1), (EgressFailed("status 503", status=503), 3), (EgressTimeout(), 3)],
)
async def test_what_is_given_up(parts, tmp_path, error, asked):
    parts.egress.answers = {"https://x.example/a": error}
    assert str(error) in str(await refusal(parts, tmp_path / "in", image="https://x.example/a"))
    assert len(parts.egress.asked) == asked


async def test_our_own_store_stumbles(parts, tmp_path):
    parts.objects.content = {f"files/{MINE}": b"mine"}
    parts.objects.errors = [ObjectStoreError("x")]
    await bring(parts, tmp_path / "in", image=f"{PUBLIC}/v1/files/{MINE}")
    parts.objects.errors = [ObjectStoreError("x")] * 3
    error = await refusal(parts, tmp_path / "in", image=f"{PUBLIC}/v1/files/{MINE}")
    assert error.reason == "our own store did not give it"


async def test_a_store_that_refuses_is_asked_once(parts, tmp_path):
    parts.objects.content = {f"files/{MINE}": b"mine"}
    parts.objects.errors = [ObjectStoreError("status 403", passing=False)]
    error = await refusal(parts, tmp_path / "in", image=f"{PUBLIC}/v1/files/{MINE}")
    assert error.reason == "our own store did not give it"
    assert parts.objects.errors == []


async def test_who_waits_for_the_store_holds_no_place_of_others(parts, tmp_path, monkeypatch):
    """As many as there are places wait for it: a file from elsewhere comes all the same."""
    monkeypatch.setattr(retries_module, "backoffs", lambda: iter([3600.0]))
    monkeypatch.setattr(retries_module, "RETRY_BUDGET_S", 7200.0)
    parts.objects.errors = [ObjectStoreError("away") for _ in range(module.PARALLEL)]
    parts.egress.answers = {"https://x.example/a": [[b"there"]]}
    stored = f"{PUBLIC}/v1/files/{MINE}"
    waiting = asyncio.create_task(bring(parts, tmp_path / "in", album=[stored] * module.PARALLEL))
    await shortly(lambda: not parts.objects.errors)
    value = await bring(parts, tmp_path / "other", image="https://x.example/a")
    assert Path(value["image"]).read_bytes() == b"there"
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_server_that_asks_to_come_back_later_is_asked_later(parts, tmp_path, monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    busy = EgressFailed("status 429", status=429, retry_after_s=7.0)
    parts.egress.answers = {"https://x.example/a": [busy, busy, busy, busy, [b"whole"]]}
    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    value = await bring(parts, tmp_path / "in", image="https://x.example/a")
    assert Path(value["image"]).read_bytes() == b"whole"
    assert slept == [7.0] * 4


@pytest.mark.parametrize(
    ("retry_after_s", "asked"), [(None, module.TRIES), (module.BUSY_LIMIT_S + 1, 1), (module.BUSY_LIMIT_S / 4, 5)]
)
async def test_a_server_that_stays_busy_is_given_up(parts, tmp_path, monkeypatch, retry_after_s, asked):
    async def sleep(_seconds):
        return None

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    parts.egress.answers = {"https://x.example/a": EgressFailed("status 429", status=429, retry_after_s=retry_after_s)}
    assert "status 429" in str(await refusal(parts, tmp_path / "in", image="https://x.example/a"))
    assert len(parts.egress.asked) == asked


async def test_a_file_that_is_too_large(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "INPUT_FILE_LIMIT_BYTES", 5)
    assert "larger than 5 bytes" in str(await refusal(parts, tmp_path / "in", image="data:,123456"))
    await bring(parts, tmp_path / "in", image="data:,12345")


async def test_too_many_files(parts, tmp_path):
    error = await refusal(parts, tmp_path / "in", album=["data:,x"] * 201)
    assert "at most 200 files" in str(error)


async def test_fetches_are_bounded(parts, tmp_path):
    parts.egress.answers = {f"https://x.example/{n}": [[b"x"]] for n in range(30)}
    parts.egress.open.clear()
    task = asyncio.create_task(bring(parts, tmp_path / "in", album=list(parts.egress.answers)))
    while parts.egress.active < 8:
        await asyncio.sleep(0.001)
    parts.egress.open.set()
    await task
    assert parts.egress.most == 8


async def test_a_canceled_fetch_leaves_nothing(parts, tmp_path):
    never = asyncio.Event()

    async def stuck():
        await never.wait()
        yield b""

    @asynccontextmanager
    async def fetch(url, **_limits):
        parts.egress.asked.append(url)
        yield Download("a/b", "a", None, stuck())

    parts.egress.fetch = fetch
    task = asyncio.create_task(bring(parts, tmp_path / "in", image="https://x.example/a"))
    await shortly(lambda: parts.egress.asked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not (tmp_path / "in").exists()

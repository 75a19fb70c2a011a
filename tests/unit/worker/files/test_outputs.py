import asyncio
import os
import re
from types import SimpleNamespace

import msgspec
import pytest

from tidemill.contracts.errors import ErrorCode
from tidemill.contracts.prediction import Status
from tidemill.hosting.child.frames import FileRef
from tidemill.runtime.objects.store import ObjectStoreError
from tidemill.testing.tasks import shortly
from tidemill.worker.files import outputs as outputs_module
from tidemill.worker.files import passed_file
from tidemill.worker.files.outputs import WAITS, OutputUploader
from tidemill.worker.runs.run import RunFailed, StopReason


def new_run():
    return SimpleNamespace(job=SimpleNamespace(id="p1", attempt=2), stop=None, lost=False)


RUN = new_run()


class FakeObjects:
    def __init__(self):
        self.stored, self.away, self.before, self.budget, self.said = {}, False, None, None, []

    async def store(self, key, source, size, content_type, budget):
        self.budget = budget
        if self.before is not None:
            await self.before()
        if self.away:
            raise ObjectStoreError("status 503")
        try:
            content = b"".join([chunk async for chunk in source.chunks(0, size)])
        except RunFailed:  # what aiohttp makes of an error in a body
            raise ObjectStoreError("the body broke off") from None
        assert len(content) == size
        self.stored[key] = (content, content_type)


@pytest.fixture
def objects():
    return FakeObjects()


@pytest.fixture
def outputs(objects):
    return OutputUploader(objects, lambda key: f"http://x/{key}", lambda _run, line: objects.said.append(line))


def opened(tmp_path, content, name="file", flags=os.O_RDONLY):
    (tmp_path / name).write_bytes(content)
    return os.open(tmp_path / name, flags)


def raw(value):
    return msgspec.Raw(msgspec.json.encode(value))


def is_closed(fd):
    try:
        os.fstat(fd)
    except OSError:
        return True
    return False


async def refusal(outputs, value, refs, fds):
    with pytest.raises(RunFailed) as refused:
        await outputs.upload(RUN, raw(value), refs, fds)
    assert all(is_closed(fd) for fd in fds)
    return refused.value


async def test_files_become_urls(outputs, objects, tmp_path):
    fds = [opened(tmp_path, b"one", "a"), opened(tmp_path, b"x" * 3_000_000, "b"), opened(tmp_path, b"", "c")]
    os.lseek(fds[0], 2, os.SEEK_SET)  # where the child has read to does not matter
    refs = [FileRef("/a", "out.png"), FileRef("/b/0", "out.png"), FileRef("/b/1", "/x/y z.txt")]
    after = await outputs.upload(RUN, raw({"a": None, "b": [None, None], "c": 1}), refs, fds)
    value = msgspec.json.decode(after)
    assert value["c"] == 1
    urls = [value["a"], *value["b"]]
    assert [re.sub(r"-\d+/", "-N/", url) for url in urls] == [
        "http://x/outputs/p1/2-N/out.png",
        "http://x/outputs/p1/2-N/out.png",
        "http://x/outputs/p1/2-N/y_z.txt",
    ]
    stored = [objects.stored[url.removeprefix("http://x/")] for url in urls]
    assert stored == [(b"one", "image/png"), (b"x" * 3_000_000, "image/png"), (b"", "text/plain")]
    assert all(is_closed(fd) for fd in fds)


async def test_without_files_nothing_is_touched(outputs):
    value = msgspec.Raw(b'{"a" :  1}')
    assert await outputs.upload(RUN, value, [], []) is value


async def test_what_is_no_regular_file(outputs, tmp_path):
    read, write = os.pipe()
    directory = os.open(tmp_path, os.O_RDONLY)
    null = os.open(os.devnull, os.O_RDONLY)
    for fd in (read, write, directory, null):
        error = await refusal(outputs, None, [FileRef("", "x")], [fd])
        assert error.code is ErrorCode.MODEL_ERROR


async def test_what_was_not_opened_for_reading(outputs, tmp_path):
    for flags in (os.O_WRONLY, os.O_PATH):
        error = await refusal(outputs, None, [FileRef("", "x")], [opened(tmp_path, b"x", flags=flags)])
        assert error.code is ErrorCode.MODEL_ERROR
        assert "cannot be read" in str(error)


async def test_a_file_that_is_too_large(outputs, tmp_path, monkeypatch):
    monkeypatch.setattr(passed_file, "OUTPUT_FILE_LIMIT_BYTES", 3)
    error = await refusal(outputs, None, [FileRef("", "x")], [opened(tmp_path, b"1234")])
    assert error.code is ErrorCode.OUTPUT_TOO_LARGE


async def test_a_sparse_giant_is_refused_by_its_size(outputs, tmp_path):
    fd = opened(tmp_path, b"", flags=os.O_RDWR)
    os.ftruncate(fd, 6 * 1024**3)
    assert (await refusal(outputs, None, [FileRef("", "x")], [fd])).code is ErrorCode.OUTPUT_TOO_LARGE


async def test_a_file_that_grows_is_stored_as_it_was(outputs, objects, tmp_path):
    fd = opened(tmp_path, b"x" * 2_000_000)

    async def grow():
        with (tmp_path / "file").open("ab") as file:
            file.write(b"y")

    objects.before = grow
    after = msgspec.json.decode(await outputs.upload(RUN, raw(None), [FileRef("", "x")], [fd]))
    assert objects.stored[after.removeprefix("http://x/")][0] == b"x" * 2_000_000


async def test_a_file_that_shrinks(outputs, objects, tmp_path):
    async def shrink():
        os.truncate(tmp_path / "file", 10)

    objects.before = shrink
    error = await refusal(outputs, None, [FileRef("", "x")], [opened(tmp_path, b"x" * 2_000_000)])
    assert "shrank" in str(error)


async def test_a_store_that_is_away(outputs, objects, tmp_path):
    objects.away = True
    error = await refusal(outputs, None, [FileRef("", "x")], [opened(tmp_path, b"x" * 2_000_000)])
    assert error.code is ErrorCode.OUTPUT_UPLOAD_FAILED


@pytest.mark.parametrize("pointer", ["/b", "/a/0", "x", "/c"])
async def test_a_pointer_to_nowhere(outputs, tmp_path, pointer):
    error = await refusal(outputs, {"a": None, "c": 1}, [FileRef(pointer, "x")], [opened(tmp_path, b"x")])
    assert error.code is ErrorCode.MODEL_ERROR


async def test_the_first_failure_ends_the_others_before_descriptors_close(outputs, objects, tmp_path):
    good, bad = opened(tmp_path, b"x" * 5_000_000, "good"), os.open(tmp_path, os.O_RDONLY)
    started = asyncio.Event()

    async def slow():
        started.set()

    objects.before = slow
    refs = [FileRef("/0", "a"), FileRef("/1", "b")]
    await refusal(outputs, [None, None], refs, [good, bad])
    assert objects.stored == {}


@pytest.fixture
def hanging(objects):
    """The store takes what it is sent and never answers; set once it has been sent something."""
    started = asyncio.Event()

    async def hang():
        started.set()
        await asyncio.Event().wait()

    objects.before = hang
    return started


async def test_canceled_uploads_close_their_descriptors(outputs, hanging, tmp_path):
    fd = opened(tmp_path, b"x")
    task = asyncio.create_task(outputs.upload(RUN, raw(None), [FileRef("", "x")], [fd]))
    await hanging.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert is_closed(fd)


@pytest.mark.parametrize("how", ["stopped", "lost"])
async def test_a_prediction_that_is_stopped_gives_its_uploads_up(outputs, objects, hanging, tmp_path, how):
    """A store that is away is waited for long: not by what nobody waits for."""
    run = new_run()
    fd = opened(tmp_path, b"x")
    task = asyncio.create_task(outputs.upload(run, raw(None), [FileRef("", "x")], [fd]))
    await hanging.wait()
    if how == "stopped":
        run.stop = StopReason(Status.CANCELED)
    else:
        run.lost = True
    with pytest.raises(RunFailed):
        await asyncio.wait_for(task, 60)
    assert is_closed(fd)
    assert objects.stored == {}


async def test_whoever_waits_for_the_store_is_told_in_the_logs_once(outputs, objects, tmp_path):
    await outputs.upload(new_run(), raw(None), [FileRef("", "x")], [opened(tmp_path, b"x")])
    assert objects.said == []
    objects.budget.notify()
    objects.budget.notify()
    assert objects.said == [WAITS]


async def test_with_much_that_waits_for_a_store_that_is_away_nothing_new_is_begun(outputs, objects, tmp_path):
    started, go_on = asyncio.Event(), asyncio.Event()

    async def hang():
        started.set()
        await go_on.wait()

    objects.before = hang
    content = b"x"
    count = outputs_module.WAITING_LIMIT
    tasks = [
        asyncio.create_task(
            outputs.upload(new_run(), raw(None), [FileRef("", "x")], [opened(tmp_path, content, str(number))])
        )
        for number in range(count)
    ]
    await shortly(lambda: outputs._waiting == count)
    assert not outputs.is_behind
    objects.away = True
    assert outputs.is_behind
    objects.away = False
    go_on.set()
    await asyncio.gather(*tasks)
    objects.away = True
    assert not outputs.is_behind

import asyncio

import pytest

from tidemill.gateway import ttl_cache
from tidemill.gateway.ttl_cache import TtlCache


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Source:
    """Answers how often it was asked for the key; while it is `closed`, nothing is answered."""

    def __init__(self):
        self.asked, self.open, self.error = [], asyncio.Event(), None
        self.open.set()

    async def look_up(self, key):
        self.asked.append(key)
        nth = self.asked.count(key)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return f"{key}{nth}", 10.0


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(ttl_cache, "monotonic", clock)
    return clock


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def known(source):
    return TtlCache(source.look_up)


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_entry_is_cached_until_it_expires(known, source, clock):
    assert await known.get("a") == "a1"
    clock.now += 7.9
    assert await known.get("a") == "a1"
    clock.now += 2.1
    assert await known.get("a") == "a2"
    assert source.asked == ["a", "a"]


async def test_a_crowd_asks_once(known, source, clock):
    assert await asyncio.gather(*(known.get("a") for _ in range(64)), known.get("b")) == ["a1"] * 64 + ["b1"]
    assert source.asked == ["a", "b"]


async def test_it_is_renewed_in_time_and_nobody_waits(known, source, clock):
    await known.get("a")
    clock.now += 8
    source.open.clear()
    assert [await known.get("a") for _ in range(3)] == ["a1"] * 3
    await settle()
    assert source.asked == ["a", "a"]
    source.open.set()
    await settle()
    clock.now += 7.9
    assert await known.get("a") == "a2"
    assert source.asked == ["a", "a"]


async def test_its_age_counts_from_the_question(known, source, clock):
    source.open.clear()
    asking = asyncio.create_task(known.get("a"))
    await settle()
    clock.now += 10
    source.open.set()
    assert await asking == "a1"
    assert await known.get("a") == "a2"


async def test_an_error_is_told_to_all_who_wait_and_not_cached(known, source, clock):
    source.error = OSError("away")
    answers = await asyncio.gather(known.get("a"), known.get("a"), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["away", "away"]
    source.error = None
    assert await known.get("a") == "a2"


async def test_a_renewal_that_fails_leaves_what_holds_still(known, source, clock):
    await known.get("a")
    clock.now += 8
    source.error = OSError("away")
    assert await known.get("a") == "a1"
    await settle()
    assert await known.get("a") == "a1"
    clock.now += 2
    with pytest.raises(OSError, match="away"):
        await known.get("a")


async def test_what_is_forgotten_is_asked_for_anew(known, source, clock):
    for key in "ab":
        await known.get(key)
    known.invalidate(lambda key, value: (key, value) == ("a", "a1"))
    assert known.peek("a") is None
    assert (await known.get("a"), await known.get("b")) == ("a2", "b1")
    known.invalidate()
    assert (await known.get("a"), await known.get("b")) == ("a3", "b2")


async def test_what_is_asked_for_while_something_changes_is_not_cached(known, source, clock):
    source.open.clear()
    before = asyncio.create_task(known.get("a"))
    await settle()
    known.invalidate()
    after = asyncio.create_task(known.get("a"))
    await settle()
    source.open.set()
    assert (await before, await after) == ("a1", "a2")
    assert await known.get("a") == "a2"
    assert source.asked == ["a", "a"]


async def test_one_who_gives_up_takes_nothing_from_the_others(known, source, clock):
    source.open.clear()
    first, second = (asyncio.create_task(known.get("a")) for _ in range(2))
    await settle()
    first.cancel()
    source.open.set()
    assert await second == "a1"
    assert source.asked == ["a"]


async def test_what_was_found_last_stays_known(known, source, clock):
    assert known.peek("a") is None
    await known.get("a")
    clock.now += 1000
    assert known.peek("a") == "a1"


async def test_made_up_keys_take_no_endless_room(known, clock, monkeypatch):
    monkeypatch.setattr(ttl_cache, "LIMIT", 10)
    for n in range(100):
        await known.get(n)
    assert len(known._entries) <= 10

from hypothesis import given
from hypothesis import strategies as st

from tidemill.worker.cache.eviction import CachedBlob, CachedVersion, plan


def blob(name, size, links, stored_at=0.0, wanted=False):
    return CachedBlob(name, size, links, stored_at, wanted)


def test_nothing_goes_while_it_fits():
    removals = plan({1: blob("a", 10, 1)}, [], 10)
    assert (removals.queues, removals.blobs, removals.freed_bytes) == ((), (), 0)


def test_what_no_version_has_goes_first_and_the_oldest_before():
    blobs = {1: blob("old", 10, 1, 1), 2: blob("new", 10, 1, 2), 3: blob("used", 10, 2, 0)}
    removals = plan(blobs, [CachedVersion("v", 0, (3,))], 20)
    assert (removals.queues, removals.blobs) == ((), ("old",))


def test_then_the_version_used_longest_ago_with_what_it_alone_had():
    blobs = {1: blob("a", 10, 2), 2: blob("shared", 10, 3), 3: blob("b", 10, 2)}
    idle = [CachedVersion("young", 9, (2, 3)), CachedVersion("old", 1, (1, 2))]
    removals = plan(blobs, idle, 20)
    assert (removals.queues, removals.blobs, removals.freed_bytes) == (("old",), ("a",), 10)


def test_a_file_that_a_version_has_twice_goes_with_it():
    removals = plan({1: blob("a", 10, 3)}, [CachedVersion("v", 0, (1, 1))], 0)
    assert removals.blobs == ("a",)


def test_what_is_being_linked_right_now_stays():
    blobs = {1: blob("a", 10, 1, wanted=True), 2: blob("b", 10, 2, wanted=True)}
    assert plan(blobs, [CachedVersion("v", 0, (2,))], 0).blobs == ()


def test_copies_are_not_counted():
    assert plan({}, [CachedVersion("v", 0, (7,))], 0).queues == ()


@st.composite
def caches(draw):
    count = draw(st.integers(0, 6))
    versions = draw(st.lists(st.lists(st.sampled_from(range(count)), max_size=5), max_size=5)) if count else []
    busy = draw(st.lists(st.booleans(), min_size=len(versions), max_size=len(versions)))
    links = [1 + sum(version.count(key) for version in versions) for key in range(count)]
    blobs = {key: blob(str(key), draw(st.integers(0, 9)), links[key], draw(st.floats(0, 9))) for key in range(count)}
    named = [CachedVersion(str(n), draw(st.floats(0, 9)), tuple(version)) for n, version in enumerate(versions)]
    return blobs, named, busy, draw(st.integers(0, 40))


@given(caches())
def test_no_blob_goes_that_a_kept_version_has(cache):
    blobs, versions, busy, limit = cache
    idle = [version for version, used in zip(versions, busy, strict=True) if not used]
    removals = plan(blobs, idle, limit)
    kept = {str(key) for version in versions if version.queue not in removals.queues for key in version.blobs}
    assert not kept & set(removals.blobs)
    assert {version.queue for version in idle} >= set(removals.queues)
    left = sum(each.size for each in blobs.values()) - removals.freed_bytes
    assert left <= limit or len(removals.queues) == len(idle)
    assert len(set(removals.blobs)) == len(removals.blobs)

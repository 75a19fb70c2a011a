import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.runtime.objects import multipart


@given(st.integers(1, 10_000), st.integers(1, 500))
def test_parts_are_the_whole_and_follow_one_another(size, part_bytes):
    parts = list(multipart.parts(size, part_bytes))
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert parts[0].offset == 0
    assert all(before.offset + before.size == after.offset for before, after in itertools.pairwise(parts))
    assert parts[-1].offset + parts[-1].size == size
    assert all(part.size == part_bytes for part in parts[:-1])
    assert 0 < parts[-1].size <= part_bytes


def test_the_end_names_all_parts_in_order():
    body = multipart.completion(['"a&b"', '"c"'])
    assert multipart.value(body, "PartNumber") == "1"
    assert multipart.value(body, "ETag") == '"a&b"'
    assert body.index(b"a&amp;b") < body.index(b'"c"')


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b'<R xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><UploadId>u&amp;1</UploadId></R>', "u&1"),
        (b"<R><UploadId>u1</UploadId></R>", "u1"),
        (b"<Error><Code>InternalError</Code></Error>", None),
        (b"not xml", None),
        (b"", None),
    ],
)
def test_what_a_store_says(reply, said):
    assert multipart.value(reply, "UploadId") == said

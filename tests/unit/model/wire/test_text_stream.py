"""What Python code prints on its way to the worker: text with markers of its owners, cut anywhere by reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.model.wire import text_stream

OWNERS = st.one_of(st.none(), st.lists(st.from_regex(r"[a-z0-9]{1,26}", fullmatch=True), max_size=3).map(tuple))


def joined(pieces):
    said = []
    for ids, text in pieces:
        owner = ids if ids is None else tuple(ids)
        if said and said[-1][0] == owner:
            said[-1] = (owner, said[-1][1] + text)
        else:
            said.append((owner, text))
    return said


@given(st.lists(st.tuples(OWNERS, st.text(min_size=1)), max_size=12), st.lists(st.integers(1, 7)))
def test_every_text_comes_to_its_owner_however_it_is_cut(said, sizes):
    data = b"".join(text_stream.marker(ids) + text_stream.encode_text(text) for ids, text in said)
    decoder, pieces = text_stream.TextDecoder(), []
    for size in (*sizes, len(data)):
        pieces += decoder.feed(data[:size])
        data = data[size:]
    pieces += decoder.end()
    shown = [
        (ids, text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()) for ids, text in said
    ]
    assert joined(pieces) == joined(shown)


@given(st.binary(max_size=200), st.integers(1, 9))
def test_any_bytes_are_text_of_somebody_and_half_a_character_goes_to_no_other(data, size):
    decoder = text_stream.TextDecoder()
    for start in range(0, len(data), size):
        decoder.feed(data[start : start + size])
    decoder.feed(text_stream.marker(("x",)))
    assert decoder.feed(b"whole\n") == [(("x",), "whole\n")]


@pytest.mark.parametrize("data", [b"\0" + b"x" * 70_000, text_stream.marker([str(n) for n in range(1025)])])
def test_a_marker_that_no_child_of_ours_makes_is_refused(data):
    with pytest.raises(ValueError, match="printed for"):
        text_stream.TextDecoder().feed(data)

"""The listener parses server-sent events however the network cuts them."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tidemill.cli.resources.webhooks import ServerSentEvent, parse_events, split_lines

DATA = '{"a":"\u2028\x85"}'
STREAM = f": listening\n\nevent: webhook\nid: msg_1\ndata: {DATA}\n\n: \n\nevent: webhook\ndata:x\n\n".encode()
EVENTS = [ServerSentEvent("webhook", "msg_1", DATA), ServerSentEvent("webhook", "", "x")]


@given(st.lists(st.integers(0, len(STREAM))))
def test_events_are_parsed_wherever_the_stream_is_cut(cuts):
    marks = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[start:end] for start, end in itertools.pairwise(marks)]
    assert list(parse_events(split_lines(chunks))) == EVENTS


def test_an_incomplete_event_is_dropped():
    assert list(parse_events(split_lines([STREAM[:40]]))) == []

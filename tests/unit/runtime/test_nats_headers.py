"""The headers of a published message, as bytes: none can smuggle in another one, or a payload."""

import pytest
from nats.errors import BadHeaderError

from tidemill.runtime.nats_client import header_block


def test_headers_are_lines_of_one_block():
    assert header_block({"ce-id": "p-1", "Nats-TTL": "60s"}) == b"NATS/1.0\r\nce-id: p-1\r\nNats-TTL: 60s\r\n\r\n"


@pytest.mark.parametrize("value", ["a\nNats-Msg-Id: b", "a\r\nNats-Msg-Id: b", "a\r\n\r\npayload", "a\rb"])
def test_a_value_cannot_end_its_line(value):
    with pytest.raises(BadHeaderError):
        header_block({"ce-id": value})


def test_a_name_cannot_end_its_line():
    with pytest.raises(BadHeaderError):
        header_block({"ce-id\r\nNats-Msg-Id": "a"})

import json

import pytest

from tidemill.security.capability import InvalidCapability
from tidemill.security.delivery_urls import delivery_url, object_key_of_token, object_key_of_url, rewrite_base

KEY = b"k" * 32
BASE = "https://api.example/"


def test_a_url_opens_until_it_expires():
    url = delivery_url(KEY, BASE, "outputs/1/a b.png", 100)
    assert url.startswith("https://api.example/v1/delivery/")
    assert url.endswith("/a%20b.png")
    assert object_key_of_url([b"o" * 32, KEY], url, 99) == "outputs/1/a b.png"
    assert object_key_of_token([KEY], url.split("/")[5], 99) == "outputs/1/a b.png"
    for keys, given, now in (
        ([KEY], url, 100),
        ([b"o" * 32], url, 99),
        ([KEY], "https://api.example/v1/delivery/", 99),
        ([KEY], "https://api.example/v1/files/x", 99),
    ):
        with pytest.raises(InvalidCapability):
            object_key_of_url(keys, given, now)


def test_files_in_json_move_to_another_base_and_nothing_else_does():
    ours = [delivery_url(KEY, base, "outputs/1/x.png", 100) for base in ("http://a.example", "https://b.example/mill")]
    moved = delivery_url(KEY, "https://z/t", "outputs/1/x.png", 100)
    others = [
        delivery_url(b"o" * 32, "http://a.example", "outputs/1/x.png", 100),
        f"see {ours[0]}",
        "http://a.example/v1/files/t",
        "http://a.example/v1/delivery/",
    ]
    output = {"file": ours[0], "many": ours, "not ours": others, "n": [1, 1.5, None, True]}
    text = json.dumps(output).encode()
    expected = {**output, "file": moved, "many": [moved, moved]}
    assert json.loads(rewrite_base(text, KEY, "https://z/t")) == expected
    for same in (json.dumps(others[2:3]).encode(), json.dumps([moved]).encode()):
        assert rewrite_base(same, KEY, "https://z/t") is same

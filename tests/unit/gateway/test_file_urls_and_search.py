"""Renewed file URLs, files in inputs, and the texts of searches."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from tidemill.contracts.errors import Problem
from tidemill.gateway.handlers.search import query_text
from tidemill.gateway.responses.input_files import replaced, strings, upload_id
from tidemill.gateway.responses.url_renewal import DAY_S, UrlRenewer
from tidemill.gateway.stores.discovery import WORDS_LIMIT, tsquery
from tidemill.security.delivery_urls import delivery_url, find_object_key, object_key_of_url
from tidemill.security.public_urls import PublicUrls

KEY, OTHER = b"k" * 32, b"o" * 32
PUBLIC = "http://now.example/base"
URLS = PublicUrls(PUBLIC)
NOW = 1_800_000_000.0
OWN = "outputs/01k00000000000000000000000/"
FILE = f"{OWN}1-0/a.png"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def test_expired_urls_of_former_addresses_become_fresh_ones():
    old = delivery_url(KEY, "https://then.example", FILE, 1)
    new = UrlRenewer(KEY, PUBLIC, NOW).text(old, OWN)
    assert object_key_of_url([KEY], new, NOW + DAY_S - 1) == FILE
    assert UrlRenewer(KEY, PUBLIC, NOW + 60).text(old, OWN) == new
    assert UrlRenewer(KEY, PUBLIC, NOW).text(new, OWN) == new
    assert UrlRenewer(KEY, PUBLIC, NOW + DAY_S).text(old, OWN) != new


@pytest.mark.parametrize(
    "text",
    [
        delivery_url(OTHER, PUBLIC, FILE, 1),
        "/v1/delivery/aaaa/x",
        "https://then.example/v1/delivery/",
        "https://then.example/v1/delivery/aaaa/x",
        f"see {delivery_url(KEY, PUBLIC, FILE, 1)}",
        "",
    ],
)
def test_what_is_not_ours_stays(text):
    assert find_object_key([KEY], text, 0) is None
    assert UrlRenewer(KEY, PUBLIC, NOW).text(text, OWN) == text


def test_urls_of_other_predictions_files_are_not_renewed():
    theirs = delivery_url(KEY, PUBLIC, "outputs/01k00000000000000000000001/1-0/a.png", 1)
    assert UrlRenewer(KEY, PUBLIC, NOW).text(theirs, OWN) == theirs
    assert find_object_key([KEY], theirs, NOW) is None


@given(json_values)
def test_values_without_our_urls_stay(value):
    raw = Raw(json.dumps(value).encode())
    assert json.loads(bytes(UrlRenewer(KEY, PUBLIC, NOW).raw(raw, OWN))) == value
    assert UrlRenewer(KEY, PUBLIC, NOW).value(value, OWN) == value
    assert replaced(value, {}) == value
    assert all(isinstance(text, str) for text in strings(value))


def test_urls_are_found_wherever_they_stand():
    old = delivery_url(KEY, PUBLIC, FILE, 1)
    renewed = json.loads(
        bytes(UrlRenewer(KEY, PUBLIC, NOW).raw(Raw(json.dumps({"a": [old, {"b": old}], "c": 1}).encode()), OWN))
    )
    assert old not in strings(renewed)
    assert len(strings(renewed)) == 2
    assert replaced({"a": [old], old: "x"}, {old: "new"}) == {"a": ["new"], old: "x"}


@pytest.mark.parametrize("base", ["", "/v1", "/v1/v1"])
@pytest.mark.parametrize("end", ["", "/download", "/download?owner=a", "?x=1"])
def test_uploads_are_known_on_every_base(base, end):
    assert upload_id(URLS, f"{PUBLIC}{base}/files/01k00000000000000000000000{end}") == "01k00000000000000000000000"


@pytest.mark.parametrize(
    "text",
    [
        "http://other.example/base/v1/files/01k00000000000000000000000",
        f"{PUBLIC}/v1/files/short",
        f"{PUBLIC}/v1/models/01k00000000000000000000000",
        f"{PUBLIC}x/files/01k00000000000000000000000",
        "01k00000000000000000000000",
    ],
)
def test_what_is_no_upload(text):
    assert upload_id(URLS, text) is None


@given(st.text(max_size=200))
def test_any_text_makes_a_query_of_words(text):
    query = tsquery(text)
    words = [word for word in query.split(" & ") if word]
    assert len(words) <= WORDS_LIMIT
    assert all(word.endswith(":*") and word[:-2].isalnum() for word in words)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=190))
def test_a_question_is_the_same_in_every_form(text):
    plain = text.strip()
    quoted = json.dumps(text).encode()
    assert query_text(quoted) == plain.replace("\0", " ")
    assert query_text(json.dumps(text, ensure_ascii=False).encode()) == plain.replace("\0", " ")


def test_questions_that_are_none():
    assert query_text(b"") == ""
    assert query_text(b'"half') == '"half'
    for body, status in ((b"\xff", 400), (b"x" * 201, 422)):
        with pytest.raises(Problem) as raised:
            query_text(body)
        assert raised.value.status == status

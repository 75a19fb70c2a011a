import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.security.egress.response_headers import MAX_FILENAME_BYTES, content_type, filename, retry_after_s


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("image/PNG", "image/png"),
        ("text/html; charset=utf-8", "text/html"),
        ("application/vnd.api+json", "application/vnd.api+json"),
        (None, "application/octet-stream"),
        ("", "application/octet-stream"),
        ("nonsense", "application/octet-stream"),
        ("a/b c", "application/octet-stream"),
        ("a/b\r\nX-Evil: 1", "application/octet-stream"),
        ("a/" + "b" * 200, "application/octet-stream"),
    ],
)
def test_content_type(value: str | None, expected: str) -> None:
    assert content_type(value) == expected


@pytest.mark.parametrize(
    ("disposition", "url_name", "expected"),
    [
        (None, "cat.png", "cat.png"),
        ("attachment", "cat.png", "cat.png"),
        ('attachment; filename="dog.jpg"', "cat.png", "dog.jpg"),
        ("attachment; filename=dog.jpg", "cat.png", "dog.jpg"),
        ("attachment; filename*=UTF-8''h%C3%BCnd.jpg", "cat.png", "hünd.jpg"),
        ("inline; filename*=nonsense''x%FF", "cat.png", "x\u00ff"),
        ('attachment; filename="../../etc/passwd"', "cat.png", "passwd"),
        ('attachment; filename="C:\\\\dir\\\\x.exe"', "cat.png", "x.exe"),
        ('attachment; filename="/"', "cat.png", "cat.png"),
        ('attachment; filename=".."', "cat.png", "cat.png"),
        ('attachment; filename=""', "..", "download"),
        (None, "", "download"),
        (None, "a\x00b\n.png", "ab.png"),
        (None, "gpj\u202e.exe", "gpj.exe"),
        (";;;=;", "cat.png", "cat.png"),
    ],
)
def test_filename(disposition: str | None, url_name: str, expected: str) -> None:
    assert filename(disposition, url_name) == expected


def test_a_long_name_keeps_its_suffix() -> None:
    name = filename(None, "ü" * 300 + ".safetensors")
    assert name.endswith("ü.safetensors")
    assert 253 <= len(name.encode()) <= MAX_FILENAME_BYTES
    assert len(filename(None, "x." + "y" * 300)) == MAX_FILENAME_BYTES


@given(st.one_of(st.none(), st.text(), st.text().map("attachment; filename={}".format)), st.text())
def test_any_name_becomes_harmless(disposition: str | None, url_name: str) -> None:
    name = filename(disposition, url_name)
    assert 0 < len(name.encode()) <= MAX_FILENAME_BYTES
    assert name not in {".", ".."}
    assert "/" not in name
    assert "\\" not in name
    assert not any(unicodedata.category(each).startswith("C") and each.isascii() for each in name)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("9" * 400, float("9" * 16)),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("\u0661", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 60.0),
        ("Wed, 21 Oct 2015 07:26:00 GMT", 0.0),
        ("Wed, 99 Oct 2015 07:26:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, expected: float | None) -> None:
    assert retry_after_s(value, now=1_445_412_420.0) == expected


@given(st.text())
def test_any_retry_after_can_be_read(value: str) -> None:
    seconds = retry_after_s(value, now=0.0)
    assert seconds is None or seconds >= 0

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.hosting.child.schema_check import SchemaRefused, check_schema
from tidemill.hosting.files.json_pointer import PointerError, set_at
from tidemill.hosting.files.output_names import content_type, safe_name


@pytest.mark.parametrize(
    ("value", "pointer", "after"),
    [
        (None, "", "U"),
        ([None, 1], "/0", ["U", 1]),
        ({"a": {"b/c": [None]}}, "/a/b~1c/0", {"a": {"b/c": ["U"]}}),
        ({"": {"~": None}}, "//~0", {"": {"~": "U"}}),
        ({"0": None}, "/0", {"0": "U"}),
    ],
)
def test_set_at(value, pointer, after):
    before = copy.deepcopy(value)
    assert set_at(value, pointer, "U") == after
    assert value == before


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ("text", ""),
        ([None], "/1"),
        ([None], "/-1"),
        ([None], "/-"),
        ([None], "/00"),
        ([None], "/0/0"),
        ([None], "0"),
        ({"a": 1}, "/a"),
        ({"a": None}, "/b"),
        ({"a": None}, "/a/b"),
        (None, "/a"),
        ("text", "/0"),
        ([None], "/" + "9" * 5000),
    ],
)
def test_invalid_pointers(value, pointer):
    with pytest.raises(PointerError):
        set_at(value, pointer, "U")


JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


@given(JSON, st.text("/~01ab-", max_size=6))
def test_any_pointer_sets_one_text_or_is_refused(value, pointer):
    before = copy.deepcopy(value)
    try:
        after = set_at(value, pointer, "the URL")
    except PointerError:
        after = None
    assert value == before
    if after is not None:
        assert str(after).count("the URL") == 1


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("out.png", "out.png"),
        ("/tmp/x/out.0.png", "out.0.png"),
        ("a b?#%.png", "a_b_.png"),
        ("..", "output"),
        ("", "output"),
        ("\u540d\u524d", "output"),
        ("\u540d.png", "_.png"),
        (".hidden", "hidden"),
        ("C:\\x\\y.txt", "y.txt"),
        ("x" * 300 + ".tar", "x" * 116 + ".tar"),
    ],
)
def test_names_of_outputs(name, safe):
    assert safe_name(name) == safe


@given(st.text())
def test_any_name_fits_into_a_url(name):
    safe = safe_name(name)
    assert 0 < len(safe) <= 120
    assert safe.isascii()
    assert safe.strip(".") == safe or not safe.startswith(".")


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a.PNG", b"", "image/png"),
        ("a.webp", b"", "image/webp"),
        ("a.mp4", b"", "video/mp4"),
        ("a.wav", b"", "audio/wav"),
        ("a.html", b"", "text/html"),
        ("a.json", b"", "application/json"),
        ("a", b"\x89PNG\r\n\x1a\n", "image/png"),
        ("a.out", b"RIFF....WEBPVP8 ", "image/webp"),
        ("a.out", b"....ftypisom", "video/mp4"),
        ("a", b"", "application/octet-stream"),
        ("a.unknown", b"hello", "application/octet-stream"),
    ],
)
def test_content_types(name, head, kind):
    assert content_type(name, head) == kind


GOOD = b'{"components":{"schemas":{"Input":{"properties":{}},"Output":{"type":"array","x-cog-array-type":"iterator"}}}}'


def test_a_schema_of_a_model():
    checked = check_schema(GOOD)
    assert checked.streams
    assert checked.text == GOOD.decode()
    assert not check_schema(GOOD.replace(b"iterator", b"other")).streams
    assert check_schema(GOOD.replace(b"iterator", rb"\\u0000"))


def test_warnings_are_kept_apart_from_the_schema():
    checked = check_schema(GOOD.replace(b"{", b'{"x-tidemill-warnings":["a\\n\\u0000b",1,"' + b"c" * 999 + b'"],', 1))
    assert checked.warnings == ("a??b", "1", "c" * 500)
    assert checked.text == GOOD.decode()
    assert check_schema(GOOD.replace(b"{", b'{"x-tidemill-guessed":"no\\u0000thing",', 1)).guessed == "no?thing"
    assert (
        check_schema(GOOD).warnings == check_schema(GOOD.replace(b"{", b'{"x-tidemill-warnings":5,', 1)).warnings == ()
    )


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        (b"", "JSON"),
        (b'{"\xff":1}', "JSON"),
        (GOOD.replace(b"{}", rb'{"a\\\u0000":{}}'), "0000"),
        (b"null", "Input"),
        (b"[]", "Input"),
        (b'{"components":{"schemas":{"Input":{}}}}', "Output"),
        (b'{"components":{"schemas":{"Input":{"properties":[]},"Output":{}}}}', "Input"),
        (GOOD.replace(b"{}", b'{"a":{"$ref":"http://10.0.0.1/"}}'), "10.0.0.1"),
        (GOOD.replace(b"{}", b'{"a":{"$ref":"file:///etc/passwd"}}'), "passwd"),
        (GOOD.replace(b"{}", b'{"a":{"$ref":"#/components/schemas/Gone"}}'), "Gone"),
        (GOOD.replace(b"{}", b'{"a":{"$ref":3}}'), "3"),
        (GOOD.replace(b"{}", b'{"a":' + b"[" * 100 + b"]" * 100 + b"}"), "deep"),
        (b"[" * 200_000, "JSON"),
        (b" " * (512 * 1024 + 1), "larger"),
    ],
)
def test_schemas_that_are_refused(raw, part):
    with pytest.raises(SchemaRefused, match=part):
        check_schema(raw)

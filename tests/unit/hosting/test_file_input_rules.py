import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.hosting.files import data_uris, media_suffixes
from tidemill.hosting.files.file_fields import FileField, InputFileUrl, NotAFile, file_fields, input_files, with_paths
from tidemill.security.data_uri_syntax import InvalidDataUri
from tidemill.security.public_urls import PublicUrls
from tidemill.worker.files.input_sources import (
    DataUri,
    DeliveredOutput,
    ExternalUrl,
    UnsupportedUrl,
    UploadedFile,
    source_of,
)
from tidemill.worker.files.inputs import name_for

PUBLIC = PublicUrls("http://Gateway.lan:8300,https://x.example/tide/")
URI = {"type": "string", "format": "uri"}


def document(**properties):
    return {"components": {"schemas": {"Input": {"properties": properties}, "Doc": URI}}}


def test_fields_in_every_shape():
    fields = file_fields(
        document(
            text={"type": "string"},
            image={**URI, "default": "https://x.example/a.png"},
            mask={**URI, "nullable": True},
            maybe={"anyOf": [URI, {"type": "null"}]},
            album={"type": "array", "items": URI},
            maybe_album={"anyOf": [{"type": "array", "items": {"anyOf": [URI, {"type": "null"}]}}, {"type": "null"}]},
            either={"anyOf": [URI, {"type": "array", "items": URI}]},
            named={"allOf": [{"$ref": "#/components/schemas/Doc"}]},
            links={"type": "array", "items": {"type": "string"}},
        )
    )
    assert [(field.name, field.one, field.many) for field in fields] == [
        ("image", True, False),
        ("mask", True, False),
        ("maybe", True, False),
        ("album", False, True),
        ("maybe_album", False, True),
        ("either", True, True),
        ("named", True, False),
    ]
    assert fields[0].default == "https://x.example/a.png"


@pytest.mark.parametrize("schema", [{}, {"components": []}, {"components": {"schemas": {"Input": None}}}, document()])
def test_no_fields(schema):
    assert file_fields(schema) == ()


def test_a_schema_that_refers_to_itself():
    schema = document(a={"$ref": "#/components/schemas/Loop"})
    schema["components"]["schemas"]["Loop"] = {"anyOf": [{"$ref": "#/components/schemas/Loop"}]}
    assert file_fields(schema) == ()


ONE, MANY = FileField("one", one=True, many=False, default="data:,x"), FileField("many", one=False, many=True)


def test_wanted_files_and_their_paths():
    value = {"one": "http://a", "many": ["http://b", "http://c"], "other": ["x"]}
    wanted = input_files((ONE, MANY), value)
    assert wanted == (
        InputFileUrl("one", None, "http://a"),
        InputFileUrl("many", 0, "http://b"),
        InputFileUrl("many", 1, "http://c"),
    )
    assert [each.field for each in wanted] == ["one", "many.0", "many.1"]
    paths = {each: f"/in/{number}" for number, each in enumerate(reversed(wanted))}
    assert with_paths(value, paths) == {"one": "/in/2", "many": ["/in/1", "/in/0"], "other": ["x"]}
    assert value["one"] == "http://a"


def test_defaults_are_fetched_also_where_null_is_given():
    """The child treats null as not given, and cannot fetch anything itself."""
    assert input_files((ONE, MANY), {}) == (InputFileUrl("one", None, "data:,x"),)
    assert input_files((ONE, MANY), {"one": None, "many": None}) == (InputFileUrl("one", None, "data:,x"),)
    assert with_paths({"many": []}, {}) == {"many": []}


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"one": 3}, "one"),
        ({"one": ["http://a"]}, "one"),
        ({"many": "http://a"}, "many"),
        ({"many": ["a", {}]}, "many.1"),
    ],
)
def test_values_that_are_not_files(value, field):
    with pytest.raises(NotAFile) as refused:
        input_files((ONE, MANY), value)
    assert refused.value.field == field


@pytest.mark.parametrize("default", ["image.png", "/src/image.png", ["a.png", "b.png"], [], None])
def test_a_default_that_is_a_file_of_the_model_is_left_to_its_child(default):
    properties = {"image": {**URI, "default": default}}
    (field,) = file_fields({"components": {"schemas": {"Input": {"properties": properties}}}})
    assert field.default is None
    assert input_files((field,), {}) == ()


FILE = "01k0000000000000000000000a"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("data:image/png;base64,AA==", DataUri),
        ("DATA:,x", DataUri),
        (f"http://gateway.lan:8300/v1/files/{FILE}", UploadedFile),
        (f"http://gateway.lan:8300/files/{FILE}", UploadedFile),
        (f"http://GATEWAY.lan:8300/v1/v1/files/{FILE}", UploadedFile),
        (f"http://gateway.lan:8300/v1/files/{FILE}/download?owner=a&expiry=1&signature=x", UploadedFile),
        (f"https://gateway.lan:8300/v1/files/{FILE}", ExternalUrl),
        (f"http://gateway.lan/v1/files/{FILE}", ExternalUrl),
        (f"http://gateway.lan:8300@evil.example/v1/files/{FILE}", ExternalUrl),
        ("http://gateway.lan:8300/v1/files/no-id", ExternalUrl),
        (f"http://gateway.lan:8300/v1/files/{FILE}/x", ExternalUrl),
        ("http://Gateway.lan:8300/v1/delivery/token/a.png", DeliveredOutput),
        ("https://example.com/a.png", ExternalUrl),
    ],
)
def test_where_files_are_had(url, kind):
    source = source_of(url, PUBLIC)
    assert type(source) is kind
    if kind is UploadedFile:
        assert source == UploadedFile(FILE)


def test_a_public_url_with_a_path():
    assert source_of(f"https://x.example/tide/v1/files/{FILE}", PUBLIC) == UploadedFile(FILE)
    assert type(source_of(f"https://x.example/v1/files/{FILE}", PUBLIC)) is ExternalUrl


@pytest.mark.parametrize("host", ["localhost:8300", "127.0.0.1:8300", "192.168.1.20:8300"])
def test_an_upload_is_ours_by_whichever_host_its_client_came(host):
    assert source_of(f"http://{host}/v1/files/{FILE}", PublicUrls("http://127.0.0.1:8300")) == UploadedFile(FILE)
    assert type(source_of(f"http://{host}/v1/files/{FILE}", PUBLIC)) is ExternalUrl


@pytest.mark.parametrize(
    "text",
    [
        "/etc/passwd",
        "etc/passwd",
        "file:///etc/passwd",
        "FILE:///x",
        "",
        " ",
        "ftp://x/y",
        "//host/x",
        "http:/x\0",
        "s3://b/k",
        "http//[",
        "http://[x",
    ],
)
def test_malformed_urls_are_refused(text):
    if text == "http:/x\0":
        assert type(source_of(text, PUBLIC)) is ExternalUrl  # the egress policy refuses it
        return
    with pytest.raises(UnsupportedUrl):
        source_of(text, PUBLIC)


@given(st.text())
def test_only_urls_get_through(text):
    try:
        source = source_of(text, PUBLIC)
    except UnsupportedUrl:
        return
    assert type(source) is DataUri or text.lstrip().lower().startswith(("http:", "https:"))


@given(st.binary(max_size=60))
def test_data_uris_in_base64(content):
    text = base64.b64encode(content).decode()
    for spelling in (text, text.rstrip("="), text.replace("+", "-").replace("/", "_"), text.replace("+", "%2B")):
        assert data_uris.decode(f"data:image/png;base64,{spelling}") == ("image/png", content)


@pytest.mark.parametrize(
    ("uri", "kind", "content"),
    [
        ("data:,a%20b", "text/plain", b"a b"),
        ("data:text/plain;charset=utf-8,ü", "text/plain", "ü".encode()),
        ("data:Audio/WAV;name=x;BASE64,QUJD", "audio/wav", b"ABC"),
        ("data:;base64,QUJD\n", "text/plain", b"ABC"),
        ("data:application/octet-stream;base64,", "application/octet-stream", b""),
    ],
)
def test_data_uris(uri, kind, content):
    assert data_uris.decode(uri) == (kind, content)


@pytest.mark.parametrize(
    "uri", ["data:", "data:image/png;base64", "data:a/b;base64,A", "data:a/b;base64,!!!!", "data:a b,x", "data:,\ud800"]
)
def test_broken_data_uris(uri):
    with pytest.raises(InvalidDataUri):
        data_uris.decode(uri)


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        ("image/png", ".png"),
        ("image/jpeg", ".jpg"),
        ("audio/wav", ".wav"),
        ("image/webp", ".webp"),
        ("x/y", ""),
        ("application/octet-stream", ""),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", ".docx"),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xlsx"),
        ("video/x-matroska", ".mkv"),
        ("video/matroska", ".mkv"),
        ("application/gzip", ".gz"),
        ("application/x-gzip", ".gz"),
        ("audio/mp4", ".m4a"),
        ("audio/m4a", ".m4a"),
        ("audio/flac", ".flac"),
        ("audio/x-flac", ".flac"),
        ("audio/aiff", ".aiff"),
        ("audio/x-aiff", ".aiff"),
        ("video/x-msvideo", ".avi"),
        ("video/avi", ".avi"),
        ("text/markdown", ".md"),
        ("application/yaml", ".yaml"),
        ("text/yaml", ".yaml"),
        ("application/x-yaml", ".yaml"),
        ("model/gltf-binary", ".glb"),
        ("image/jxl", ".jxl"),
        ("application/xml", ".xml"),
        ("text/plain", ".txt"),
        ("text/html", ".html"),
    ],
)
def test_media_types_have_the_suffix_that_programs_expect(kind, suffix):
    assert media_suffixes.suffix(kind) == suffix


def test_every_known_media_type_is_one_and_has_one_suffix():
    for suffix, kinds in media_suffixes._BY_SUFFIX.items():
        for kind in kinds:
            assert data_uris.decode(f"data:{kind},x").content_type == kind
            assert media_suffixes.suffix(kind) == suffix


@pytest.mark.parametrize(
    ("name", "kind", "safe"),
    [
        ("cat.png", "text/html", "cat.png"),
        ("cat", "image/png", "cat.png"),
        ("../../etc/passwd", "x/y", "passwd"),
        ("-rf.png", "", "rf.png"),
        (".bashrc", "", "bashrc"),
        ("", "", "download"),
        ("a\0\n.png", "", "a.png"),
        ("größe.jpg", "", "größe.jpg"),
    ],
)
def test_names(name, kind, safe):
    assert name_for(name, kind) == safe


@given(st.text(), st.sampled_from(["", "image/png"]))
def test_any_name_is_made_harmless(name, kind):
    safe = name_for(name, kind)
    assert safe not in {"", ".", ".."}
    assert not set(safe) & set("/\\\0\n")
    assert not safe.startswith(("-", "."))
    assert len(safe) <= 104

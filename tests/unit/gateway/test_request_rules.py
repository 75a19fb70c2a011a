import pytest

from tidemill.contracts.errors import Problem
from tidemill.contracts.prediction import Status
from tidemill.gateway.files.downloads import disposition
from tidemill.gateway.listing import cursors
from tidemill.gateway.listing.cursors import Cursor
from tidemill.gateway.predictions.preferences import cancel_after_s, wait_s
from tidemill.gateway.predictions.validation import checker, decode_input
from tidemill.gateway.responses.client_capabilities import is_sdk, knows_aborted, wants_data_uris, without_aborted

KEY = b"k" * 32


def test_a_cursor_opens_only_where_it_was_made():
    cursor = Cursor("next", "01abc")
    text = cursors.seal(KEY, "/files|a", cursor)
    assert cursors.unseal(KEY, "/files|a", text) == cursor
    for key, scope, given in (
        (KEY, "/files|b", text),
        (b"o" * 32, "/files|a", text),
        (KEY, "/files|a", text[:-2]),
        (KEY, "/files|a", "é"),
        (KEY, "/files|a", "x"),
    ):
        with pytest.raises(Problem) as caught:
            cursors.unseal(key, scope, given)
        assert caught.value.status == 400


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, None), ("", None), ("respond-async", None), ("wait", 58.5), ("wait=10", 10), ("wait=60", 58.5),
        ("respond-async, wait=5", 5), ("WAIT = 3", 3), ("await", None), ("wait=0", 0), ("wait=999999", 58.5),
    ],
)  # fmt: skip
def test_prefer(prefer, seconds):
    assert wait_s(prefer) == seconds


def test_cancel_after():
    assert [cancel_after_s(text) for text in (None, "30", "30s", "5m", "1h30m45s")] == [None, 30, 30, 300, 5445]
    for text in ("", "4s", "25h", "soon", "-5", "1d", "5 m"):
        with pytest.raises(Problem) as caught:
            cancel_after_s(text)
        assert caught.value.status == 422


SDKS = [
    "replicate-python/1.0.7",
    "replicate-javascript/1.4.0",
    "Replicate/Python 2.0.0-beta.4",
    "_ModuleClient/Python x",
]


@pytest.mark.parametrize("agent", SDKS)
def test_official_clients(agent):
    assert is_sdk(agent)
    assert wants_data_uris(agent, "http://x", "auto", polling=False)
    assert not wants_data_uris(agent, "https://x", "auto", polling=False)
    assert not wants_data_uris(agent, "http://x", "url", polling=False)
    assert not wants_data_uris("curl/8", "http://x", "auto", polling=False)
    assert wants_data_uris(None, "https://x", "data", polling=False)


@pytest.mark.parametrize(
    "agent", [*SDKS, "ai-sdk/replicate/3.0.46 runtime/node.js/20", "curl/8", "python-httpx/0.28", "a-program", "", None]
)
def test_aborted_is_canceled_for_whoever_does_not_say_that_it_knows_it(agent):
    assert not knows_aborted(agent, None, None)
    assert not knows_aborted(agent, "wait=10, respond-async", "failed,canceled")
    assert knows_aborted(agent, "wait=10, aborted", None)
    assert knows_aborted(agent, "Aborted", None)
    assert knows_aborted(agent, None, "failed,aborted")


@pytest.mark.parametrize("agent", ["tidemill-cli", "tidemill-mcp", "tidemill-web"])
def test_our_own_clients_know_aborted(agent):
    assert knows_aborted(agent, None, None)


def test_every_other_status_is_what_it_is():
    assert [without_aborted(status) for status in Status if status is not Status.ABORTED] == list(Status)[:-1]
    assert without_aborted(Status.ABORTED) is Status.CANCELED


def test_what_polls_in_python_2_makes_files_of_urls():
    assert not wants_data_uris("Replicate/Python 2.0.0-beta.4", "http://x", "auto", polling=True)
    assert wants_data_uris("_ModuleClient/Python 2.0.0-beta.4", "http://x", "auto", polling=True)
    assert wants_data_uris("replicate-python/1.0.7", "http://x", "auto", polling=True)
    assert wants_data_uris("Replicate/Python 2.0.0-beta.4", "http://x", "data", polling=True)


SCHEMA = {
    "components": {
        "schemas": {
            "Input": {
                "type": "object",
                "required": ["prompt"],
                "properties": {
                    "prompt": {"type": "string"},
                    "steps": {"type": "integer", "minimum": 1, "maximum": 4},
                    "size": {"allOf": [{"$ref": "#/components/schemas/size"}]},
                    "maybe": {"type": "string", "nullable": True},
                },
            },
            "size": {"type": "string", "enum": ["S", "L"]},
        }
    }
}


@pytest.mark.parametrize(
    ("value", "kind", "field", "description"),
    [
        ({}, "required", "input", "prompt is required"),
        ({"prompt": 1}, "invalid_type", "input.prompt", "Invalid type. Expected: string, given: integer"),
        ({"prompt": "", "steps": 9}, "number_lte", "input.steps", "Must be less than or equal to 4"),
        ({"prompt": "", "steps": 0}, "number_gte", "input.steps", "Must be greater than or equal to 1"),
        ({"prompt": "", "size": "M"}, "enum", "input.size", 'size must be one of the following: "S", "L"'),
        ({"prompt": None}, "invalid_type", "input.prompt", "Invalid type. Expected: string, given: null"),
        ([], "invalid_type", "input", "Invalid type. Expected: object, given: array"),
    ],
)
def test_wrong_inputs_are_named_as_replicate_names_them(value, kind, field, description):
    with pytest.raises(Problem) as caught:
        checker(SCHEMA)(value)
    assert caught.value.status == 422
    assert caught.value.extra["invalid_fields"] == [{"type": kind, "field": field, "description": description}]
    assert caught.value.detail == f"- {field}: {description}\n"


def test_right_inputs():
    for value in ({"prompt": ""}, {"prompt": "", "steps": None, "maybe": None}, {"prompt": "", "size": "S", "more": 1}):
        checker(SCHEMA)(value)


@pytest.mark.parametrize(("opens", "closes"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
def test_nesting_has_a_limit_whatever_the_brackets(opens, closes):
    levels = opens.count(b"[") + opens.count(b"{")
    assert decode_input(opens * (60 // levels) + b"1" + closes * (60 // levels)) is not None
    for depth in (66 // levels, 50_000):
        with pytest.raises(Problem, match="nests deeper"):
            decode_input(opens * depth + b"1" + closes * depth)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b'{"n": ' + b"9" * 5000 + b"}", 422), (b'{"n": 1e999}', 422), (b'{"n": -1e999}', 422),
        (b'{"text": "\xff"}', 400), (b'{"\xed\xa0\x80": 1}', 400), (b'{"text": "\\ud800"}', 400),
    ],
)  # fmt: skip
def test_what_is_no_number_or_no_text_is_the_callers_mistake(raw, status):
    with pytest.raises(Problem) as caught:
        decode_input(raw)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("image/png", "a.png", 'inline; filename="a.png"'),
        ("audio/wav", "a.wav", 'inline; filename="a.wav"'),
        ("image/svg+xml", "a.svg", 'attachment; filename="a.svg"'),
        ("text/html", 'a"\r\nX: y', "attachment; filename=\"a_X: y\"; filename*=UTF-8''a%22X%3A%20y"),
    ],
)
def test_disposition(kind, name, expected):
    assert disposition(kind, name) == expected

import json

import msgspec

from tidemill.runtime import serializers
from tidemill.testing.rows import WAITING

AT = WAITING["created_at"]


def shown(stream_url=None, base="https://tide.example", kept_s=None, **changes):
    prediction = serializers.prediction({**WAITING, **changes}, base, stream_url=stream_url, kept_s=kept_s)
    return json.loads(msgspec.json.encode(prediction))


def test_what_is_not_known_yet_is_left_out():
    assert shown() == {
        "id": "p",
        "model": "a/m",
        "version": "v",
        "input": {"n": 1},
        "logs": "",
        "output": None,
        "data_removed": False,
        "error": None,
        "status": "starting",
        "source": "api",
        "created_at": "2026-11-23T09:00:00.250Z",
        "urls": {
            "get": "https://tide.example/v1/predictions/p",
            "cancel": "https://tide.example/v1/predictions/p/cancel",
            "web": "https://tide.example/p/p",
        },
    }


def test_what_is_known_is_shown():
    seen = shown(
        status="failed",
        logs="line\n",
        output='["a"]',
        error="no",
        error_code="model_error",
        started_at=AT,
        completed_at=AT,
        deadline=AT,
        metrics='{"predict_time": 0.5}',
        boot='{"total": 2.5}',
        priority=3,
        webhook="https://hook.example/",
        webhook_events=["start"],
        stream_url="https://tide.example/v1/streams/t",
    )
    assert (seen["logs"], seen["output"], seen["error"], seen["error_code"]) == ("line\n", ["a"], "no", "model_error")
    assert seen["started_at"] == seen["completed_at"] == seen["deadline"] == seen["created_at"]
    assert seen["metrics"] == {"predict_time": 0.5}
    assert (seen["boot"], seen["priority"]) == ({"total": 2.5}, 3)
    assert (seen["webhook"], seen["webhook_events_filter"]) == ("https://hook.example/", ["start"])
    assert seen["urls"]["stream"] == "https://tide.example/v1/streams/t"


def test_removed_data_leaves_the_keys():
    seen = shown(status="succeeded", data_removed=True, input="{}", output=None, logs=None)
    assert (seen["input"], seen["output"], seen["logs"], seen["data_removed"]) == ({}, None, None, True)


def test_a_base_with_a_slash_at_its_end_is_the_same_base():
    assert shown(base="https://tide.example/") == shown()


def test_json_of_the_row_passes_through_unchanged():
    text = '{"big": 12345678901234567890123, "text": "\\u00e9"}'
    prediction = serializers.prediction({**WAITING, "output": text}, "https://t", stream_url=None)
    assert text.encode() in msgspec.json.encode(prediction)


def test_what_goes_says_when():
    ended = {"status": "succeeded", "completed_at": AT}
    assert shown(kept_s=3600, **ended)["data_deleted_at"] == "2026-11-23T10:00:00.250Z"
    for changes in (
        {"status": "processing"},
        {**ended, "kept_s": None},
        {**ended, "source": "web"},
        {**ended, "shared_at": AT},
        {**ended, "data_removed": True, "input": "{}"},
    ):
        assert "data_deleted_at" not in shown(**{"kept_s": 3600, **changes})
    assert shown(shared_at=AT)["shared_at"] == "2026-11-23T09:00:00.250Z"


def test_secret_inputs_are_not_shown():
    given = b'{"token": "hunter2", "text": "a",  "tokens": ["b"]}'
    row = {**WAITING, "input": given.decode()}
    shown = serializers.prediction(row, "https://t", stream_url=None, secret_inputs=["token", "tokens", "absent"])
    assert msgspec.json.decode(shown.input) == {"token": "[redacted]", "text": "a", "tokens": "[redacted]"}
    for names in (None, [], ["absent"]):
        whole = serializers.prediction(row, "https://t", stream_url=None, secret_inputs=names)
        assert bytes(whole.input) == given

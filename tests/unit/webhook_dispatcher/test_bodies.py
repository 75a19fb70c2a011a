import json
from types import SimpleNamespace

from tidemill.gateway.responses import stream_urls
from tidemill.security.delivery_urls import delivery_url
from tidemill.testing.rows import WAITING
from tidemill.webhook_dispatcher.config import Config
from tidemill.webhook_dispatcher.sender import Sender

CONFIG = Config(
    database_url="", nats_url="", signing_key="5a" * 32, public_urls="https://tide.example/,http://10.0.0.5:8300"
)
ROW = {
    **WAITING,
    "webhook": "https://hook.example/",
    "streams": None,
    "is_example": False,
    "secret_inputs": ["token"],
    "retention_s": None,
}
CREATED = ROW["created_at"]


def body(**changes):
    return json.loads(Sender(CONFIG, egress=None).bodies.current({**ROW, **changes}))


def test_a_body_holds_no_secret_and_no_column_of_ours():
    assert set(body()) == {
        "id", "model", "version", "input", "logs", "output", "data_removed", "error", "status", "source", "created_at",
        "urls", "webhook",
    }  # fmt: skip


def test_the_stream_url_is_the_one_that_the_api_gives():
    config = SimpleNamespace(retention_s=CONFIG.retention_s)
    parts = SimpleNamespace(config=config, signing_key=bytes.fromhex("5a" * 32))
    for carried, path in (("text", "/v1/streams/"), ("files", "/v1/files/streams/")):
        url = body(streams=carried)["urls"]["stream"]
        assert url == stream_urls.url(parts, "https://tide.example", "p", CREATED.timestamp(), carried)
        assert url.startswith(f"https://tide.example{path}")
    assert "stream" not in body()["urls"]


def test_urls_are_those_by_which_the_create_came_if_they_are_still_listed():
    file = delivery_url(bytes.fromhex("5a" * 32), "https://tide.example", "outputs/p/x.png", 1)
    for column, base in (
        (None, "https://tide.example"),
        ("http://10.0.0.5:8300", "http://10.0.0.5:8300"),
        ("http://10.0.0.6:8300", "https://tide.example"),
    ):
        sent = body(public_url=column, streams="text", output=json.dumps([file]))
        assert all(url.startswith(f"{base}/") for url in sent["urls"].values()), sent["urls"]
        assert sent["output"] == [file.replace("https://tide.example", base)]


def test_receivers_see_aborted_as_canceled():
    assert body(status="aborted", completed_at=CREATED)["status"] == "canceled"


def test_a_start_that_is_told_late_looks_like_one():
    ended = {"status": "succeeded", "output": '"x"', "logs": "l", "metrics": "{}", "completed_at": CREATED}
    row = {**ROW, **ended, "started_at": CREATED}
    told = json.loads(Sender(CONFIG, egress=None).bodies.at_start(row))
    assert (told["status"], told["output"], told["logs"]) == ("processing", None, "")
    assert told["started_at"]
    assert not {"completed_at", "metrics"} & set(told)


def test_the_end_says_when_its_data_goes():
    ended = {"status": "succeeded", "completed_at": CREATED}
    assert body(**ended)["data_deleted_at"] == "2026-11-23T10:00:00.250Z"
    assert body(**ended, retention_s=60)["data_deleted_at"] == "2026-11-23T09:01:00.250Z"
    assert "data_deleted_at" not in body(**ended, is_example=True)

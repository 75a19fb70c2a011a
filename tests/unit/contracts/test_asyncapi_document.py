"""The AsyncAPI document: current, complete, and true to what is sent."""

from pathlib import Path

import msgspec
import pytest

from tidemill.contracts import asyncapi, subjects
from tidemill.contracts.events import Lifecycle

DOCS = Path(__file__).parents[3] / "docs"
DOCUMENT = asyncapi.document("nats://events.example:4222")
MOVES = [(kind, name) for kind in subjects.KINDS for name in asyncapi.EVENT_NAMES]


def test_the_document_in_the_docs_is_current():
    assert (DOCS / "asyncapi.json").read_text() == asyncapi.render_document(), "run: ./just docs"


def resolve(reference):
    found = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(value):
    if isinstance(value, dict):
        yield from ([value["$ref"]] if "$ref" in value else ())
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_every_reference_leads_somewhere():
    assert {bool(resolve(reference)) for reference in references(DOCUMENT)} == {True}


def test_the_server_is_where_it_was_said_to_be():
    assert DOCUMENT["servers"]["nats"]["host"] == "events.example:4222"
    assert asyncapi.document("tls://x:1")["servers"]["nats"]["protocol"] == "tls"


@pytest.mark.parametrize(("kind", "name"), MOVES)
def test_channels_are_the_subjects_that_events_are_sent_on(kind, name):
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}
    filled = {address.format(account="a", gateway="g") for address in addresses}
    assert subjects.prediction("a", name, "g", kind) in filled
    assert len(addresses) == len(MOVES)


@pytest.mark.parametrize("message", DOCUMENT["components"]["messages"].values(), ids=lambda each: each["name"])
def test_examples_are_what_a_service_would_send(message):
    (example,) = message["examples"]
    event = msgspec.json.decode(msgspec.json.encode(example["payload"]), type=Lifecycle)
    assert msgspec.json.decode(msgspec.json.encode(event)) == example["payload"]
    _, kind, name = message["name"].split(".")
    assert event.attributes(kind, name) == example["headers"]
    fixed = message["headers"]["properties"]
    assert all(fixed[key].get("const", value) == value for key, value in example["headers"].items())
    assert sorted(example["headers"]) == message["headers"]["required"]


def test_nothing_secret_has_a_place_in_an_event():
    properties = DOCUMENT["components"]["schemas"]["Lifecycle"]["properties"]
    assert not {"input", "webhook", "webhook_secret", "token"} & set(properties)

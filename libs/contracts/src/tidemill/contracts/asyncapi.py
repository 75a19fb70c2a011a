"""The AsyncAPI 3.0 document of the events on NATS, built from the contracts: subjects, headers, payloads, examples.

Pure. `python -m tidemill.contracts.asyncapi` prints the version in docs/; the gateway serves it with its own address.
"""

import sys
from typing import Any, Final

import msgspec

from tidemill.contracts.events import Lifecycle
from tidemill.contracts.prediction import Status
from tidemill.contracts.subjects import EXTERNAL_DOMAIN, KINDS, PREDICTIONS, EventName, Kind, prediction

Json = dict[str, Any]
EVENT_NAMES: Final[tuple[EventName, ...]] = ("started", "completed")
LOCAL_URL: Final = "nats://127.0.0.1:4222"
EVENT_DESCRIPTIONS: Final[dict[EventName, str]] = {
    "started": "A worker runs it. What ends within a few milliseconds is never announced as started.",
    "completed": "It has ended: succeeded, failed, canceled or aborted. There is exactly one of these.",
}
DESCRIPTION: Final = f"""\
Predictions and trainings announce on NATS what happens to them. Connect with an API token as the token (or as the
password) and subscribe to your own account's subjects; `GET /v1/account` tells them, and the inbox prefix to use.

The stream {PREDICTIONS.name} keeps events for an hour at most, no longer than the account keeps its data, and drops the
oldest of an account that holds more than its share: `GET /v1/event-consumers/{{id}}` tells how many a durable consumer
has missed so, and since when (`missed`, `missed_since`, `missed_until`). A durable
consumer, made with `POST /v1/event-consumers`, remembers what you have acknowledged; reach it under the JetStream
domain `{EXTERNAL_DOMAIN}`. Delivery is at least once and in no promised order: `ce-id` names an event for good."""
ACCOUNT: Final = "The account's id, as `GET /v1/account` tells it."
GATEWAY: Final = "Of no use to subscribers; subscribe with `*` in its place."
EXAMPLE_ID: Final = "01m848q50sbfbnet4y03nd0mjx"
EXAMPLES: Final[dict[EventName, Lifecycle]] = {
    "started": Lifecycle(
        id=EXAMPLE_ID,
        account="01m848q3s9fx1mp0yhmc5t5d0a",
        model="tidemill/writer",
        version="5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa",
        status=Status.PROCESSING,
        created_at=1795438994.25,
        started_at=1795438994.5,
        partial=True,
    ),
    "completed": Lifecycle(
        id=EXAMPLE_ID,
        account="01m848q3s9fx1mp0yhmc5t5d0a",
        model="tidemill/writer",
        version="5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa",
        status=Status.SUCCEEDED,
        output=msgspec.Raw(b'["Once"," upon"," a"," time"]'),
        logs="",
        metrics=msgspec.Raw(b'{"total_time":1.5,"predict_time":1.25}'),
        created_at=1795438994.25,
        started_at=1795438994.5,
        completed_at=1795438995.75,
    ),
}


def document(server_url: str) -> Json:
    """Return the document. `server_url` is where external clients connect, such as nats://events.example:4222."""
    protocol, _, host = server_url.rpartition("://")
    moves = [(kind, name) for kind in KINDS for name in EVENT_NAMES]
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Tidemill events", "version": "1.0.0", "description": DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": {
            "nats": {
                "host": host,
                "protocol": protocol or "nats",
                "security": [{"$ref": "#/components/securitySchemes/token"}],
            }
        },
        "channels": {_title(kind, name): _channel(kind, name) for kind, name in moves},
        "operations": {f"send{_title(kind, name)}": _operation(kind, name) for kind, name in moves},
        "components": {
            "messages": {_title(kind, name): _message(kind, name) for kind, name in moves},
            "schemas": _schemas(),
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "password",
                    "description": "An API token with the scope predictions:read, and trainings:read for trainings.",
                }
            },
        },
    }


def _title(kind: Kind, name: EventName) -> str:
    return f"{kind.title()}{name.title()}"


def _channel(kind: Kind, name: EventName) -> Json:
    title = _title(kind, name)
    return {
        "address": prediction("{account}", name, "{gateway}", kind),
        "description": EVENT_DESCRIPTIONS[name],
        "messages": {title: {"$ref": f"#/components/messages/{title}"}},
        "parameters": {"account": {"description": ACCOUNT}, "gateway": {"description": GATEWAY}},
    }


def _operation(kind: Kind, name: EventName) -> Json:
    title = _title(kind, name)
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{title}"},
        "messages": [{"$ref": f"#/channels/{title}/messages/{title}"}],
    }


def _message(kind: Kind, name: EventName) -> Json:
    example = EXAMPLES[name]
    made = example.attributes(kind, name)
    fixed = {key: {"type": "string", "const": value} for key, value in made.items() if key != "ce-id"}
    unique = {"type": "string", "description": "Unique; the same when an event comes twice."}
    return {
        "name": f"tidemill.{kind}.{name}",
        "contentType": "application/json",
        "headers": {"type": "object", "required": sorted(made), "properties": {**fixed, "ce-id": unique}},
        "payload": {"$ref": "#/components/schemas/Lifecycle"},
        "examples": [{"headers": made, "payload": msgspec.json.decode(msgspec.json.encode(example))}],
    }


def _schemas() -> Json:
    _, components = msgspec.json.schema_components([Lifecycle], ref_template="#/components/schemas/{name}")
    return components


def render_document(server_url: str = LOCAL_URL) -> str:
    made = msgspec.json.format(msgspec.json.encode(document(server_url)), indent=2).decode()
    return f"{made}\n"


if __name__ == "__main__":
    sys.stdout.write(render_document())

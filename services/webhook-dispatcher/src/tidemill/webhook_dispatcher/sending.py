"""One signed POST, by the egress client: the only way to a user's URL."""

import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from tidemill.contracts.limits import CANCEL_AFTER_LIMIT_S
from tidemill.contracts.prediction import Status
from tidemill.runtime.clock import monotonic, rfc3339
from tidemill.runtime.db import Row
from tidemill.runtime.present import prediction
from tidemill.security import capability, webhooks
from tidemill.security.egress import Egress
from tidemill.security.egress_errors import EgressError
from tidemill.webhook_dispatcher.config import Config

RESPONSE_HEAD_CHARS: Final = 1024  # of a receiver's answer in the log: enough for an error page's first words
# What a row that has ended did not have yet when it began.
AT_START: Final = {
    "status": Status.PROCESSING.value,
    "output": None,
    "logs": None,
    "error": None,
    "error_code": None,
    "metrics": None,
    "completed_at": None,
}


class Answer(NamedTuple):
    """What one try came to. `status` None: there was no answer, and `error` says why."""

    status: int | None
    error: str | None
    retry_after_s: float | None = None
    at: float = 0.0
    duration_s: float = 0.0
    response: str = ""

    def entry(self) -> str:
        """For the delivery's log, as JSON."""
        fields = {"at": rfc3339(self.at), "duration_s": round(self.duration_s, 4), "status": self.status}
        return msgspec.json.encode({**fields, "error": self.error, "response": self.response}).decode()


class Message(NamedTuple):
    """What is sent: `id` is the webhook-id header, `secrets` sign, the newest first."""

    id: str
    url: str
    body: bytes
    secrets: Sequence[str]


class Sender:
    """Makes bodies and sends them."""

    def __init__(self, config: Config, egress: Egress) -> None:
        self._config = config
        self._egress = egress
        self._key = bytes.fromhex(config.signing_key)

    def body(self, row: Row) -> bytes:
        """The prediction as GET answers it."""
        return self._encoded(row, {})

    def body_at_start(self, row: Row) -> bytes:
        """The same of the moment when it began, whatever the row knows by now."""
        return self._encoded(row, AT_START)

    def _encoded(self, row: Row, changes: dict[str, Any]) -> bytes:
        stream = self._stream_url(row) if row["streams"] else None
        fields: dict[str, Any] = {**dict(row.items()), **changes}
        return msgspec.json.encode(prediction(fields, self._config.public_url, stream_url=stream))

    def _stream_url(self, row: Row) -> str:
        expires_at = int(row["created_at"].timestamp()) + CANCEL_AFTER_LIMIT_S + self._config.retention_s
        token = capability.seal(self._key, "stream", row["id"], expires_at)
        return f"{self._config.public_url.rstrip('/')}/v1/streams/{token}"

    async def send(self, message: Message, *, timeout_s: float) -> Answer:
        at, began = time.time(), monotonic()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Tidemill-Webhooks",
            "webhook-id": message.id,
            "webhook-timestamp": str(int(at)),
            "webhook-signature": webhooks.sign(message.secrets, message.id, int(at), message.body),
        }
        try:
            posted = await self._egress.post(message.url, body=message.body, headers=headers, timeout_s=timeout_s)
        except EgressError as error:
            return Answer(None, str(error), at=at, duration_s=monotonic() - began)
        return Answer(
            posted.status,
            None if posted.status < 300 else f"status {posted.status}",
            posted.retry_after,
            at,
            monotonic() - began,
            _text(posted.body_head),
        )


def secrets(row: Row) -> list[str]:
    """The account's own and, while they overlap, those before it; `row` is of `store.PREDICTION`."""
    return [row["webhook_secret"], *row["secrets_before"]]


def _text(head: bytes) -> str:
    """PostgreSQL keeps no NUL in text."""
    return head.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")[:RESPONSE_HEAD_CHARS]

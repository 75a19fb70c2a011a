"""One signed POST, by the egress client: the only way to a user's URL."""

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from tidemill.runtime.clock import monotonic, rfc3339
from tidemill.runtime.db import Row
from tidemill.runtime.service import parse_setting
from tidemill.runtime.webhook import WebhookBodies, headers
from tidemill.security.egress.client import EgressClient
from tidemill.security.egress.errors import EgressError
from tidemill.security.public_urls import PublicUrls
from tidemill.webhook_dispatcher.config import Config

RESPONSE_HEAD_CHARS: Final = 1024  # of a receiver's answer in the log: enough for an error page's first words


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

    def __init__(self, config: Config, egress: EgressClient) -> None:
        self._egress = egress
        public_urls = parse_setting("TIDEMILL_PUBLIC_URLS", PublicUrls, config.public_urls)
        self.bodies = WebhookBodies(public_urls, bytes.fromhex(config.signing_key), config.retention_s)

    async def send(self, message: Message, *, timeout_s: float) -> Answer:
        at, began = time.time(), monotonic()
        signed = headers(message.secrets, message.id, int(at), message.body)
        try:
            posted = await self._egress.post(message.url, body=message.body, headers=signed, timeout_s=timeout_s)
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

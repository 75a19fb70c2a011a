"""Sends one signed POST through the egress client, the only way to a user's URL."""

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

RESPONSE_HEAD_CHARS: Final = 1024  # of a receiver's response body in the log: enough for the start of an error page


class TryResult(NamedTuple):
    """The result of one try. `status` None: there was no response, and `error` says why. `at` is in unix seconds."""

    status: int | None
    error: str | None
    retry_after_s: float | None = None
    at: float = 0.0
    duration_s: float = 0.0
    response: str = ""

    def entry(self) -> str:
        """Return the entry for the delivery's log, as JSON."""
        fields = {"at": rfc3339(self.at), "duration_s": round(self.duration_s, 4), "status": self.status}
        return msgspec.json.encode({**fields, "error": self.error, "response": self.response}).decode()


class WebhookMessage(NamedTuple):
    """A message to send. `id` is the webhook-id header; `secrets` sign it, the newest first."""

    id: str
    url: str
    body: bytes
    secrets: Sequence[str]


class Sender:
    """Builds bodies and sends messages."""

    def __init__(self, config: Config, egress: EgressClient) -> None:
        self._egress = egress
        public_urls = parse_setting("TIDEMILL_PUBLIC_URLS", PublicUrls, config.public_urls)
        self.bodies = WebhookBodies(public_urls, bytes.fromhex(config.signing_key), config.retention_s)

    async def send(self, message: WebhookMessage, *, timeout_s: float) -> TryResult:
        at, began = time.time(), monotonic()
        signed = headers(message.secrets, message.id, int(at), message.body)
        try:
            response = await self._egress.post(message.url, body=message.body, headers=signed, timeout_s=timeout_s)
        except EgressError as error:
            return TryResult(None, str(error), at=at, duration_s=monotonic() - began)
        return TryResult(
            response.status,
            None if response.status < 300 else f"status {response.status}",
            response.retry_after,
            at,
            monotonic() - began,
            _text(response.body_head),
        )


def signing_secrets(row: Row) -> list[str]:
    """Return the account's secret, then older ones that still sign. `row` is a row of `store.PREDICTION`."""
    return [row["webhook_secret"], *row["secrets_before"]]


def _text(head: bytes) -> str:
    """Return the head as text without NUL, which PostgreSQL rejects."""
    return head.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")[:RESPONSE_HEAD_CHARS]

"""One signed POST, by the egress client: the only way to a user's URL."""

import time
from typing import Any, NamedTuple

import msgspec

from tidemill.contracts.limits import CANCEL_AFTER_LIMIT_S
from tidemill.runtime.db import Row
from tidemill.runtime.present import prediction
from tidemill.security import capability, webhooks
from tidemill.security.egress import Egress
from tidemill.security.egress_errors import EgressError
from tidemill.webhook_dispatcher.config import Config


class Answer(NamedTuple):
    """`status` None: there was none, and `error` says why."""

    status: int | None
    error: str | None
    retry_after_s: float | None = None


class Sender:
    """Makes bodies and sends them."""

    def __init__(self, config: Config, egress: Egress) -> None:
        self._config = config
        self._egress = egress
        self._key = bytes.fromhex(config.signing_key)

    def body(self, row: Row) -> bytes:
        """The prediction as GET answers it."""
        stream = self._stream_url(row) if row["streams"] else None
        fields: dict[str, Any] = dict(row.items())
        return msgspec.json.encode(prediction(fields, self._config.public_url, stream_url=stream))

    def _stream_url(self, row: Row) -> str:
        expires_at = int(row["created_at"].timestamp()) + CANCEL_AFTER_LIMIT_S + self._config.retention_s
        token = capability.seal(self._key, "stream", row["id"], expires_at)
        return f"{self._config.public_url.rstrip('/')}/v1/streams/{token}"

    async def send(self, url: str, secret: str, message_id: str, body: bytes, *, timeout_s: float) -> Answer:
        timestamp = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Tidemill-Webhooks",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": webhooks.sign([secret], message_id, timestamp, body),
        }
        try:
            posted = await self._egress.post(url, body=body, headers=headers, timeout_s=timeout_s)
        except EgressError as error:
            return Answer(None, str(error))
        reason = None if posted.status < 300 else f"status {posted.status}"
        return Answer(posted.status, reason, posted.retry_after)

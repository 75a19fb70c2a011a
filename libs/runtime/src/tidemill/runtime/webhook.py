"""A webhook's body, made of a prediction's row, and its signed headers. Pure.

The dispatcher sends what this builds, and the gateway shows it.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from tidemill.contracts.prediction import Status
from tidemill.runtime.db import Row
from tidemill.runtime.serializers import prediction
from tidemill.runtime.streams.urls import stream_url
from tidemill.security import webhook_signatures
from tidemill.security.delivery_urls import rewrite_base
from tidemill.security.public_urls import PublicUrls

# The columns of an ended prediction as they were when it started.
AT_START: Final = {
    "status": Status.PROCESSING.value,
    "output": None,
    "logs": None,
    "error": None,
    "error_code": None,
    "metrics": None,
    "completed_at": None,
    "boot": None,
}


class WebhookBodies(NamedTuple):
    """Builds bodies; `signing_key` signs their stream URLs. The base of all URLs is that of the create, if known."""

    public_urls: PublicUrls
    signing_key: bytes
    retention_s: int

    def current(self, row: Row) -> bytes:
        """Return the prediction as GET returns it.

        `row` has the prediction's columns, `streams`, `secret_inputs`, `is_example`, and its account's `retention_s`.
        """
        return self._encoded(row, {})

    def at_start(self, row: Row) -> bytes:
        """Return the prediction as it was when it started, whatever its row holds now."""
        return self._encoded(row, AT_START)

    def _encoded(self, row: Row, changes: dict[str, Any]) -> bytes:
        known = row["public_url"]
        public_url = self.public_urls.first if known is None else self.public_urls.current(known)
        stream = self._stream_url(row, public_url) if row["streams"] else None
        fields: dict[str, Any] = {**dict(row.items()), **changes}
        kept_s = None if row["is_example"] else min(self.retention_s, row["retention_s"] or self.retention_s)
        shown = prediction(fields, public_url, stream_url=stream, kept_s=kept_s, secret_inputs=row["secret_inputs"])
        if shown.status is Status.ABORTED:  # receivers may not know this status, which is an extension
            shown.status = Status.CANCELED
        shown.output = msgspec.Raw(rewrite_base(bytes(shown.output), self.signing_key, public_url))
        return msgspec.json.encode(shown)

    def _stream_url(self, row: Row, public_url: str) -> str:
        created_at = row["created_at"].timestamp()
        return stream_url(
            self.signing_key,
            public_url,
            row["id"],
            created_at=created_at,
            retention_s=self.retention_s,
            carried=row["streams"],
        )


def headers(secrets: Sequence[str], message_id: str, at_s: int, body: bytes) -> dict[str, str]:
    """Return the headers, signed with all secrets, the newest first. `at_s` is the time of sending in unix seconds."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "Tidemill-Webhooks",
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": webhook_signatures.sign(secrets, message_id, at_s, body),
    }

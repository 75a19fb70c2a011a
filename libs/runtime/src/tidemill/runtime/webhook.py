"""A webhook as it is sent: its body, made of a prediction's row, and its signed headers. Pure.

One builder for the dispatcher and for whoever shows what the dispatcher sends.
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

# What a row that has ended did not have yet when it began.
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


class Bodies(NamedTuple):
    """`signing_key` signs the stream URLs in them. URLs have the base by which the create came, where one is known."""

    public_urls: PublicUrls
    signing_key: bytes
    retention_s: int

    def now(self, row: Row) -> bytes:
        """The prediction as GET answers it.

        `row` has the prediction's columns, `streams`, `secret_inputs`, `is_example`, and its account's `retention_s`.
        """
        return self._encoded(row, {})

    def at_start(self, row: Row) -> bytes:
        """The same of the moment when it began, whatever the row knows by now."""
        return self._encoded(row, AT_START)

    def _encoded(self, row: Row, changes: dict[str, Any]) -> bytes:
        known = row["public_url"]
        public_url = self.public_urls.first if known is None else self.public_urls.current(known)
        stream = self._stream_url(row, public_url) if row["streams"] else None
        fields: dict[str, Any] = {**dict(row.items()), **changes}
        kept_s = None if row["is_example"] else min(self.retention_s, row["retention_s"] or self.retention_s)
        shown = prediction(fields, public_url, stream_url=stream, kept_s=kept_s, secret_inputs=row["secret_inputs"])
        if shown.status is Status.ABORTED:  # a receiver may be any program: as clients that do not know the word see it
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
    """`secrets` all sign, the newest first; `at_s` is the try's moment in unix seconds."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "Tidemill-Webhooks",
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": webhook_signatures.sign(secrets, message_id, at_s, body),
    }

"""A prediction that was accepted, between its request and its row."""

from typing import Literal

import msgspec


class Accepted(msgspec.Struct, kw_only=True, frozen=True):
    """A new prediction, as it goes into its row. Times are unix seconds; `input` is the JSON as it came."""

    id: str
    account_id: str
    model: str
    version: str
    queue: str
    source: str
    input: bytes
    webhook: str | None
    webhook_events: list[str] | None
    deadline: float | None
    created_at: float
    traceparent: str | None = None
    kind: Literal["prediction", "training"] = "prediction"
    deployment: str | None = None  # owner/name
    destination: str | None = None  # owner/name, of a training
    priority: int = 0
    public_url: str | None = None  # by which the request came, where nobody who knows no request could guess it
    secrets: frozenset[str] = frozenset()  # the inputs that are never shown

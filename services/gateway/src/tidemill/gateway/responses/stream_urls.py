"""The URL of a prediction's live output under one of the gateway's public URLs."""

from typing import Protocol

from tidemill.gateway.config import Config
from tidemill.runtime.streams.urls import Carried, stream_url


class StreamUrlParts(Protocol):
    @property
    def config(self) -> Config: ...
    @property
    def signing_key(self) -> bytes: ...


def url(
    parts: StreamUrlParts, public_url: str, prediction_id: str, created_at: float, carried: Carried = "text"
) -> str:
    return stream_url(
        parts.signing_key,
        public_url,
        prediction_id,
        created_at=created_at,
        retention_s=parts.config.retention_s,
        carried=carried,
    )

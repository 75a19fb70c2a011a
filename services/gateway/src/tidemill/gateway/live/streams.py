"""The URL of a prediction's live output under one of our public URLs."""

from tidemill.gateway.parts import Parts
from tidemill.runtime.stream_urls import Carried, stream_url


def url(parts: Parts, public_url: str, prediction_id: str, created_at: float, carried: Carried = "text") -> str:
    return stream_url(
        parts.signing_key,
        public_url,
        prediction_id,
        created_at=created_at,
        retention_s=parts.config.retention_s,
        carried=carried,
    )

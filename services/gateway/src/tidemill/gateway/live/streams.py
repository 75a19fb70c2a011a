"""The URL of a prediction's live output, as this gateway gives it."""

from tidemill.gateway.parts import Parts
from tidemill.runtime.stream_urls import Carried, stream_url


def url(parts: Parts, prediction_id: str, created_at: float, carried: Carried = "text") -> str:
    config = parts.config
    return stream_url(
        parts.signing_key,
        config.public_url,
        prediction_id,
        created_at=created_at,
        retention_s=config.retention_s,
        carried=carried,
    )

"""Stream URLs: signed capabilities that need no token, since clients send none to them."""

from tidemill.contracts.limits import CANCEL_AFTER_LIMIT_S
from tidemill.gateway.parts import Parts
from tidemill.security import capability

KIND = "stream"


def url(parts: Parts, prediction_id: str, created_at: float) -> str:
    """Good for as long as the prediction can run and its output is kept. The same URL at every call."""
    expires_at = int(created_at) + CANCEL_AFTER_LIMIT_S + parts.config.retention_s
    return f"{parts.api_url}/streams/{capability.seal(parts.signing_key, KIND, prediction_id, expires_at)}"

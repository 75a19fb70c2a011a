"""The signed URLs of live output. They need no token, since clients send none to them.

The JavaScript client tells by the path that a stream is one of files, so streams of text must not lie below `/files/`.
"""

from typing import Final, Literal, TypeAlias

from tidemill.contracts.limits import CANCEL_AFTER_LIMIT_S
from tidemill.security import capability

KIND: Final = "stream"
Carried: TypeAlias = Literal["text", "files"]
PATHS: Final[dict[Carried, str]] = {"text": "/v1/streams/", "files": "/v1/files/streams/"}
# SQL for a prediction `p`: the column `streams` (null if it streams nothing), the names of the version's secret inputs,
# which showing the prediction needs too, and the joins for both.
STREAMS: Final = """
    CASE WHEN v.streams THEN CASE WHEN w.streams_files THEN 'files' ELSE 'text' END END AS streams, w.secret_inputs"""
JOINS: Final = "LEFT JOIN queue_version v ON v.queue = p.queue LEFT JOIN version w ON w.queue = v.version_queue"


def stream_url(
    key: bytes, public_url: str, prediction_id: str, *, created_at: float, retention_s: int, carried: Carried
) -> str:
    """Return the URL, valid while the prediction can run and its output is kept. Each call returns the same."""
    expires_at = int(created_at) + CANCEL_AFTER_LIMIT_S + retention_s
    return f"{public_url.rstrip('/')}{PATHS[carried]}{capability.sign(key, KIND, prediction_id, expires_at)}"

"""Serializes the row of a prediction for clients: the same for API responses and for webhook bodies.

Pure. Keys without a value yet are left out, as in Replicate's API.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
from msgspec import UNSET, Raw, UnsetType

from tidemill.contracts.api.predictions import Prediction, PredictionUrls
from tidemill.contracts.prediction import Status
from tidemill.contracts.subjects import Kind
from tidemill.runtime.clock import rfc3339, unix

NULL: Final = Raw(b"null")
REDACTED: Final = "[redacted]"  # replaces the value of a secret input


class Columns(Protocol):
    """A database row, or a dict."""

    def __getitem__(self, name: str, /) -> Any: ...


def prediction(
    row: Columns,
    public_url: str,
    *,
    stream_url: str | None,
    kept_s: float | None = None,
    secret_inputs: Collection[str] | None = None,
) -> Prediction:
    """`row` has all columns of the table, JSON as text. `stream_url` is None if the version does not stream.

    The data is deleted `kept_s` after completion, or never if it is None.
    """
    return Prediction(
        id=row["id"],
        model=row["model"],
        version=row["version"],
        input=without_secrets(_raw(row["input"]), secret_inputs or ()),
        logs=None if row["data_removed"] else row["logs"] or "",
        output=_raw(row["output"]),
        data_removed=row["data_removed"],
        error=row["error"],
        error_code=_known(row["error_code"]),
        status=Status(row["status"]),
        source=row["source"],
        created_at=rfc3339(unix(row["created_at"])),
        started_at=_moment(row["started_at"]),
        completed_at=_moment(row["completed_at"]),
        deadline=_moment(row["deadline"]),
        data_deleted_at=_data_deleted_at(row, kept_s),
        shared_at=_moment(row["shared_at"]),
        metrics=UNSET if row["metrics"] is None else _raw(row["metrics"]),
        boot=UNSET if row["boot"] is None else _raw(row["boot"]),
        priority=row["priority"] or UNSET,
        deployment=_known(row["deployment"]),
        destination=_known(row["destination"]),
        urls=urls(row["id"], row["kind"], public_url, stream_url),
        webhook=_known(row["webhook"]),
        webhook_events_filter=UNSET if row["webhook_events"] is None else list(row["webhook_events"]),
    )


def without_secrets(given: Raw, names: Collection[str]) -> Raw:
    """Return an input with its secrets replaced, for its owner too. Without secrets the bytes stay the same."""
    if not names:
        return given
    values = msgspec.json.decode(given)
    if not isinstance(values, dict) or values.keys().isdisjoint(names):
        return given
    return Raw(msgspec.json.encode({name: REDACTED if name in names else value for name, value in values.items()}))


def _data_deleted_at(row: Columns, kept_s: float | None) -> str | UnsetType:
    """Return the time of deletion. Only data of API predictions is deleted by age, and not while they are shared."""
    completed_at, stays = row["completed_at"], row["source"] != "api" or row["shared_at"] is not None
    if kept_s is None or completed_at is None or stays or row["data_removed"]:
        return UNSET
    return rfc3339(unix(completed_at) + kept_s)


def urls(prediction_id: str, kind: Kind, public_url: str, stream_url: str | None) -> PredictionUrls:
    base = public_url.rstrip("/")
    return PredictionUrls(
        get=f"{base}/v1/{kind}s/{prediction_id}",
        cancel=f"{base}/v1/{kind}s/{prediction_id}/cancel",
        web=f"{base}/p/{prediction_id}",
        stream=_known(stream_url),
    )


def _raw(text: str | None) -> Raw:
    return NULL if text is None else Raw(text.encode())


def _known(text: str | None) -> str | UnsetType:
    return UNSET if text is None else text


def _moment(moment: datetime | None) -> str | UnsetType:
    return UNSET if moment is None else rfc3339(unix(moment))

"""A prediction as clients and webhooks see it, made from its row. Keys that are not known yet are absent, as on Replicate."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from tidemill.contracts.api import Prediction, PredictionUrls
from tidemill.contracts.prediction import Status
from tidemill.runtime.clock import rfc3339
from tidemill.runtime.db import Row

NULL = Raw(b"null")
COLUMNS = """id, account_id, model, version, queue, status, source, input, output, logs, error, error_code, metrics, webhook,
    webhook_events, data_removed, deadline, created_at, started_at, completed_at"""


def urls(prediction_id: str, public_url: str, stream_url: str | None) -> PredictionUrls:
    base = f"{public_url.rstrip('/')}/v1/predictions/{prediction_id}"
    return PredictionUrls(
        get=base,
        cancel=f"{base}/cancel",
        web=f"{public_url.rstrip('/')}/p/{prediction_id}",
        stream=stream_url or UNSET,
    )


def prediction(row: Row, public_url: str, *, stream_url: str | None = None) -> Prediction:
    """`row` holds COLUMNS."""
    status = Status(row["status"])
    return Prediction(
        id=row["id"],
        model=row["model"],
        version=row["version"],
        input=_raw(row["input"]),
        logs=None if row["data_removed"] else row["logs"] or "",
        output=_raw(row["output"]),
        data_removed=row["data_removed"],
        error=row["error"],
        error_code=_known(row["error_code"]),
        status=status,
        source=row["source"],
        created_at=_time(row["created_at"]) or "",
        started_at=_known(_time(row["started_at"])),
        completed_at=_known(_time(row["completed_at"])),
        deadline=_known(_time(row["deadline"])),
        metrics=UNSET if row["metrics"] is None else _raw(row["metrics"]),
        urls=urls(row["id"], public_url, stream_url),
        webhook=_known(row["webhook"]),
        webhook_events_filter=_known(row["webhook_events"]),
    )


def _raw(text: str | None) -> Raw:
    return NULL if text is None else Raw(text.encode())


def _known(value: Any) -> Any:
    return UNSET if value is None else value


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment.timestamp())


def metrics(
    started_at: float | None, created_at: float, completed_at: float, extra: dict[str, Any] | None = None
) -> str:
    """The metrics member as JSON text: predict_time and total_time in seconds, and what the model recorded."""
    times = {"total_time": max(0.0, round(completed_at - created_at, 6))}
    if started_at is not None:
        times["predict_time"] = max(0.0, round(completed_at - started_at, 6))
    return msgspec.json.encode({**(extra or {}), **times}).decode()

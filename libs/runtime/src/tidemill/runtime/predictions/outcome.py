"""How an attempt ended, before it is written. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from tidemill.contracts.prediction import Status
from tidemill.runtime.parameters import Moment, MomentOrNone


class Outcome(msgspec.Struct, kw_only=True, frozen=True):
    """How one attempt ended; the fields are the parameters of `ends.END`.

    JSON members are text as PostgreSQL takes it; times are unix seconds.
    """

    id: str
    attempt: int
    status: Status
    output: str | None = None
    logs: str | None = None
    error: str | None = None
    error_code: str | None = None
    metrics: str | None = None
    boot: str | None = None
    worker: str | None = None
    started_at: MomentOrNone = None
    completed_at: Moment


def metrics(
    started_at: float | None,
    created_at: float,
    completed_at: float,
    recorded: Mapping[str, Any] = MappingProxyType({}),
    bill: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """Return the metrics member as JSON text: predict_time and total_time in seconds, then what the model recorded.

    `bill` comes from `billing.bill`. Its members and the times win over what the model recorded.
    """
    times = {"total_time": max(0.0, round(completed_at - created_at, 6))}
    if started_at is not None:
        times["predict_time"] = max(0.0, round(completed_at - started_at, 6))
    return msgspec.json.encode({**recorded, **times, **bill}).decode()

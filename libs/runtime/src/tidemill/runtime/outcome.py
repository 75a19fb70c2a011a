"""The one way a prediction ends: a fenced UPDATE that also writes the webhook delivery, then the announcement.

Worker, gateway (cancel) and scheduler (lost, expired) all end predictions through here, so exactly one terminal state
is ever stored and announced, whoever comes first.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import UNSET

from tidemill.contracts import subjects
from tidemill.contracts.events import Lifecycle, WebhookEvent
from tidemill.contracts.ids import new_id
from tidemill.contracts.limits import INLINE_OUTPUT_LIMIT_BYTES
from tidemill.contracts.prediction import SQL_ENDS, Status
from tidemill.runtime.bus import Announcement, Bus, encode
from tidemill.runtime.clock import at
from tidemill.runtime.db import Lane, columns


class Outcome(msgspec.Struct, kw_only=True, frozen=True):
    """How one attempt ended. JSON members are text as PostgreSQL takes it; times are unix seconds."""

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
    started_at: float | None = None
    completed_at: float


def metrics(
    started_at: float | None,
    created_at: float,
    completed_at: float,
    recorded: Mapping[str, Any] = MappingProxyType({}),
    bill: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """The metrics member as JSON text: predict_time and total_time in seconds, what the model recorded, and what
    `billing.bill` says, which no model can overwrite.
    """
    times = {"total_time": max(0.0, round(completed_at - created_at, 6))}
    if started_at is not None:
        times["predict_time"] = max(0.0, round(completed_at - started_at, 6))
    return msgspec.json.encode({**recorded, **times, **bill}).decode()


class Ended(msgspec.Struct, kw_only=True, frozen=True):
    """A prediction that this call has ended."""

    id: str
    account: str
    gateway: str
    kind: subjects.Kind
    model: str
    version: str
    webhook: bool
    created_at: float
    retention_s: int | None  # of the account, when it is shorter than the service's


# Output and logs are kept as they are when the outcome brings none: a canceled prediction keeps what it had produced.
END: Final = f"""
WITH outcome AS (
    SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
        $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[], $12::text[], $13::text[])
    AS o (id, attempt, status, output, logs, error, error_code, metrics, worker, started_at, completed_at, delivery,
        boot)
), ended AS (
    UPDATE prediction p SET
        status = o.status,
        output = COALESCE(o.output::json, p.output),
        logs = COALESCE(o.logs, p.logs, ''),
        error = o.error,
        error_code = o.error_code,
        metrics = COALESCE(o.metrics::json, p.metrics),
        boot = COALESCE(o.boot::json, p.boot),
        worker = COALESCE(o.worker, p.worker),
        started_at = COALESCE(p.started_at, o.started_at),
        completed_at = o.completed_at
    FROM outcome o
    WHERE p.id = ANY ($1) AND p.id = o.id AND p.attempt = o.attempt AND (p.status, o.status) IN {SQL_ENDS}
        AND (o.worker IS NULL OR p.worker IS NULL OR p.worker = o.worker)
    RETURNING p.id, p.account_id, p.gateway, p.kind, p.model, p.version, p.webhook, p.webhook_events,
        p.created_at, o.delivery
), delivery AS (
    INSERT INTO webhook_delivery (id, prediction_id, account_id, url)
    SELECT delivery, id, account_id, webhook FROM ended
    WHERE webhook IS NOT NULL AND (webhook_events IS NULL OR 'completed' = ANY (webhook_events))
)
SELECT id, account_id, gateway, kind, model, version, webhook IS NOT NULL AS webhook, created_at,
    (SELECT a.retention_s FROM account a WHERE a.id = ended.account_id) AS retention_s
FROM ended"""  # noqa: S608 - our own constant


async def end(lane: Lane, outcomes: Sequence[Outcome]) -> dict[str, Ended]:
    """Ends predictions; answers those that this call has ended, by id. One statement, one commit."""
    rows = [
        (
            o.id,
            o.attempt,
            o.status.value,
            o.output,
            o.logs,
            o.error,
            o.error_code,
            o.metrics,
            o.worker,
            None if o.started_at is None else at(o.started_at),
            at(o.completed_at),
            f"msg_{new_id()}",
            o.boot,
        )
        for o in outcomes
    ]
    ended = await lane.fetch(END, *columns(rows, 13))
    return {
        row["id"]: Ended(
            id=row["id"],
            account=row["account_id"],
            gateway=row["gateway"],
            kind=row["kind"],
            model=row["model"],
            version=row["version"],
            webhook=row["webhook"],
            created_at=row["created_at"].timestamp(),
            retention_s=row["retention_s"],
        )
        for row in ended
    }


async def announce(bus: Bus, pairs: Sequence[tuple[Ended, Outcome]]) -> None:
    """Tells waiting requests, services and subscribers about ended predictions, and wakes the webhook dispatcher."""
    await bus.announce([_completed(ended, outcome) for ended, outcome in pairs])
    for ended, _ in pairs:
        if ended.webhook:
            await bus.send(subjects.WEBHOOK, WebhookEvent(id=ended.id, event="completed"))


def lifecycle(ended: Ended, outcome: Outcome) -> Lifecycle:
    size = len(outcome.output or "") + len(outcome.logs or "")
    # An outcome without logs kept those of the row, which are not at hand here.
    partial = size > INLINE_OUTPUT_LIMIT_BYTES or outcome.logs is None
    raw = msgspec.Raw
    return Lifecycle(
        id=ended.id,
        account=ended.account,
        model=ended.model,
        version=ended.version,
        status=outcome.status,
        attempt=outcome.attempt,
        output=UNSET if partial or outcome.output is None else raw(outcome.output.encode()),
        logs=None if partial else outcome.logs,
        error=outcome.error,
        error_code=outcome.error_code,
        metrics=UNSET if outcome.metrics is None else raw(outcome.metrics.encode()),
        boot=UNSET if outcome.boot is None else raw(outcome.boot.encode()),
        created_at=ended.created_at,
        started_at=outcome.started_at,
        completed_at=outcome.completed_at,
        partial=partial,
    )


def _completed(ended: Ended, outcome: Outcome) -> Announcement:
    made = announcement(lifecycle(ended, outcome), "completed", ended.gateway, ended.kind)
    if ended.retention_s is not None and made.headers is not None:
        made.headers["Nats-TTL"] = f"{ended.retention_s}s"  # the stream holds it no longer than the row
    return made


def announcement(event: Lifecycle, name: subjects.EventName, gateway: str, kind: subjects.Kind) -> Announcement:
    """A lifecycle event for its subject, with the attributes of CloudEvents as headers."""
    subject = subjects.prediction(event.account, name, gateway, kind)
    return Announcement(subject, encode(event), event.attributes(kind, name))

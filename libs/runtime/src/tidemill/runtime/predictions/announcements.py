"""The announcement of what happened to predictions: lifecycle events for requests that wait and for subscribers."""

from collections.abc import Sequence

from msgspec import UNSET, Raw

from tidemill.contracts import subjects
from tidemill.contracts.events import Lifecycle, WebhookEvent
from tidemill.contracts.limits import INLINE_OUTPUT_LIMIT_BYTES
from tidemill.runtime.bus import Announcement, Bus, encode
from tidemill.runtime.predictions.ending import Ended
from tidemill.runtime.predictions.outcome import Outcome


async def announce(bus: Bus, pairs: Sequence[tuple[Ended, Outcome]]) -> None:
    """Publish the events of ended predictions, and wake the webhook dispatcher."""
    await bus.announce([_completed(ended, outcome) for ended, outcome in pairs])
    for ended, _ in pairs:
        if ended.webhook:
            await bus.send(subjects.WEBHOOK, WebhookEvent(id=ended.id, event="completed"))


def _lifecycle(ended: Ended, outcome: Outcome) -> Lifecycle:
    """Return the event of an end. It is partial if it is too large, or if the row has logs that the outcome lacks."""
    size = len(outcome.output or "") + len(outcome.logs or "")
    partial = size > INLINE_OUTPUT_LIMIT_BYTES or outcome.logs is None
    return Lifecycle(
        id=ended.id,
        account=ended.account,
        model=ended.model,
        version=ended.version,
        status=outcome.status,
        attempt=outcome.attempt,
        output=UNSET if partial or outcome.output is None else Raw(outcome.output.encode()),
        logs=None if partial else outcome.logs,
        error=outcome.error,
        error_code=outcome.error_code,
        metrics=UNSET if outcome.metrics is None else Raw(outcome.metrics.encode()),
        boot=UNSET if outcome.boot is None else Raw(outcome.boot.encode()),
        created_at=ended.created_at,
        started_at=outcome.started_at,
        completed_at=outcome.completed_at,
        partial=partial,
    )


def _completed(ended: Ended, outcome: Outcome) -> Announcement:
    made = announcement(_lifecycle(ended, outcome), "completed", ended.gateway, ended.kind)
    if ended.retention_s is not None and made.headers is not None:
        made.headers["Nats-TTL"] = f"{ended.retention_s}s"  # the stream keeps it no longer than the table keeps the row
    return made


def announcement(event: Lifecycle, name: subjects.EventName, gateway: str, kind: subjects.Kind) -> Announcement:
    """Return a lifecycle event with its subject, and the attributes of CloudEvents as headers."""
    subject = subjects.prediction(event.account, name, gateway, kind)
    return Announcement(subject, encode(event), event.attributes(kind, name))

"""A prediction as the asking client can read it: of a row, of what was just accepted, or of the event of its end."""

from msgspec import UNSET, Raw, UnsetType

from tidemill.contracts import api
from tidemill.contracts.events import Lifecycle
from tidemill.contracts.prediction import Status
from tidemill.gateway.accepted import Accepted
from tidemill.gateway.answers import files_in_output
from tidemill.gateway.answers.clients import status_for
from tidemill.gateway.answers.kept_files import RENEW_AFTER_S, Renewer
from tidemill.gateway.call import Call
from tidemill.gateway.config import Config
from tidemill.gateway.live import streams
from tidemill.runtime import present
from tidemill.runtime.clock import now, rfc3339
from tidemill.runtime.db import Row
from tidemill.runtime.stream_urls import Carried


def starting(call: Call, accepted: Accepted, carried: Carried | None) -> api.Prediction:
    parts = call.parts
    return api.Prediction(
        id=accepted.id,
        model=accepted.model,
        version=accepted.version,
        input=present.without_secrets(Raw(accepted.input), accepted.secrets),
        logs="",
        output=present.NULL,
        data_removed=False,
        error=None,
        status=Status.STARTING,
        source=accepted.source,
        created_at=rfc3339(accepted.created_at),
        deadline=UNSET if accepted.deadline is None else rfc3339(accepted.deadline),
        priority=accepted.priority or UNSET,
        deployment=accepted.deployment or UNSET,
        destination=accepted.destination or UNSET,
        urls=present.urls(
            accepted.id,
            accepted.kind,
            parts.config.public_url,
            streams.url(parts, accepted.id, accepted.created_at, carried) if carried else None,
        ),
        webhook=accepted.webhook or UNSET,
        webhook_events_filter=UNSET if accepted.webhook_events is None else accepted.webhook_events,
    )


def ended(call: Call, prediction: api.Prediction, event: Lifecycle) -> api.Prediction:
    prediction.status = status_for(call.request.headers.get("User-Agent"), event.status)
    prediction.output = present.NULL if isinstance(event.output, UnsetType) else event.output
    prediction.logs = event.logs or ""
    prediction.error = event.error
    prediction.error_code = event.error_code or UNSET
    prediction.metrics = event.metrics
    prediction.boot = event.boot
    if event.started_at is not None:
        prediction.started_at = rfc3339(event.started_at)
    if event.completed_at is not None:
        prediction.completed_at = rfc3339(event.completed_at)
        prediction.data_deleted_at = rfc3339(event.completed_at + kept_s(call.parts.config, call.account.retention_s))
    return prediction


async def in_full(call: Call, row: Row) -> api.Prediction:
    """With files as this client can read them. `row` has the columns of store.prediction."""
    prediction = of_row(call, row)
    await call.parts.waiting_room.tell(row, prediction)
    return await files_in_output.for_client(call, prediction)


def of_row(call: Call, row: Row) -> api.Prediction:
    parts = call.parts
    stream = streams.url(parts, row["id"], row["created_at"].timestamp(), row["streams"]) if row["streams"] else None
    prediction = present.prediction(
        dict(row.items()),
        parts.config.public_url,
        stream_url=stream,
        kept_s=None if row["is_example"] else kept_s(parts.config, row["retention_s"]),
        secret_inputs=row["secret_inputs"],
    )
    prediction.status = status_for(call.request.headers.get("User-Agent"), prediction.status)
    age_s = now() - row["created_at"].timestamp()
    if age_s > RENEW_AFTER_S:  # what still has data then is kept for longer than the URLs of its files are good for
        Renewer(parts.signing_key, parts.config.public_url, now()).prediction(prediction)
    return prediction


def kept_s(config: Config, retention_s: int | None) -> int:
    """How long data is kept after completion: an account may want less than the service's own time, not more."""
    return config.retention_s if retention_s is None else min(config.retention_s, retention_s)

"""Serializes a prediction for the requesting client: from its row, on acceptance, or from the event of its end."""

from typing import Protocol

from msgspec import UNSET, Raw

from tidemill.contracts.api.predictions import Prediction
from tidemill.contracts.events import Lifecycle
from tidemill.contracts.prediction import Status
from tidemill.gateway.accepted import Accepted
from tidemill.gateway.call import Call
from tidemill.gateway.config import Config
from tidemill.gateway.responses import output_files, stream_urls
from tidemill.gateway.responses.client_capabilities import knows_aborted, without_aborted
from tidemill.gateway.responses.output_files import OutputFileParts
from tidemill.gateway.responses.url_renewal import RENEW_AFTER_S, UrlRenewer
from tidemill.runtime import serializers
from tidemill.runtime.clock import now, rfc3339
from tidemill.runtime.db import Row
from tidemill.runtime.streams.urls import Carried


class QueueStatusProvider(Protocol):
    """Adds queue position and reason of the wait to a waiting prediction; see `predictions.queue_status`."""

    async def add_to(self, row: Row, prediction: Prediction) -> None: ...


class SerializerParts(OutputFileParts, Protocol):
    @property
    def queue_status(self) -> QueueStatusProvider: ...


def from_accepted(call: Call[SerializerParts], accepted: Accepted, carried: Carried | None) -> Prediction:
    public_url = call.public_url
    return Prediction(
        id=accepted.id,
        model=accepted.model,
        version=accepted.version,
        input=serializers.without_secrets(Raw(accepted.input), accepted.secrets),
        logs="",
        output=serializers.NULL,
        data_removed=False,
        error=None,
        status=Status.STARTING,
        source=accepted.source,
        created_at=rfc3339(accepted.created_at),
        deadline=UNSET if accepted.deadline is None else rfc3339(accepted.deadline),
        priority=accepted.priority or UNSET,
        deployment=accepted.deployment or UNSET,
        destination=accepted.destination or UNSET,
        urls=serializers.urls(
            accepted.id,
            accepted.kind,
            public_url,
            stream_urls.url(call.parts, public_url, accepted.id, accepted.created_at, carried) if carried else None,
        ),
        webhook=accepted.webhook or UNSET,
        webhook_events_filter=UNSET if accepted.webhook_events is None else accepted.webhook_events,
    )


def add_end(call: Call[SerializerParts], prediction: Prediction, event: Lifecycle) -> Prediction:
    prediction.status = status_for(call, event.status)
    prediction.output = output_files.on_request_base(call, serializers.NULL if event.output is UNSET else event.output)
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


async def in_detail(call: Call[SerializerParts], row: Row) -> Prediction:
    """Return a prediction with its files and the reason of its wait. `row` is one of stores.predictions.find."""
    prediction = of_row(call, row)
    await call.parts.queue_status.add_to(row, prediction)
    return await output_files.for_client(call, prediction)


def of_row(call: Call[SerializerParts], row: Row) -> Prediction:
    parts, public_url, created_at = call.parts, call.public_url, row["created_at"].timestamp()
    stream = stream_urls.url(parts, public_url, row["id"], created_at, row["streams"]) if row["streams"] else None
    prediction = serializers.prediction(
        dict(row.items()),
        public_url,
        stream_url=stream,
        kept_s=None if row["is_example"] else kept_s(parts.config, row["retention_s"]),
        secret_inputs=row["secret_inputs"],
    )
    prediction.status = status_for(call, prediction.status)
    if now() - created_at > RENEW_AFTER_S:  # data that still exists is kept longer than the URLs of its files are valid
        return UrlRenewer(parts.signing_key, public_url, now()).prediction(prediction)
    prediction.output = output_files.on_request_base(call, prediction.output)
    return prediction


def status_for(call: Call[SerializerParts], status: Status) -> Status:
    """Return the status; `canceled` for `aborted` if this client does not know that."""
    if status is not Status.ABORTED:
        return status
    headers = call.request.headers
    known = knows_aborted(headers.get("User-Agent"), headers.get("Prefer"), call.query.get("status"))
    return status if known else without_aborted(status)


def kept_s(config: Config, retention_s: int | None) -> int:
    """Return how long data is kept after completion. An account can shorten the service's setting, not extend it."""
    return config.retention_s if retention_s is None else min(config.retention_s, retention_s)

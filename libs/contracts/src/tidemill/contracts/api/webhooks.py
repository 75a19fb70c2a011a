"""Webhooks as their owners see them: secrets, deliveries with their tries, endpoints. All of it is an extension."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from tidemill.contracts.api.fields import Timestamp

OVERLAP_S: Final = 24 * 3600  # a day to give every receiver the new secret
OVERLAP_LIMIT_S: Final = 7 * 24 * 3600  # a longer overlap would rarely be ended
SIGNING_LIMIT: Final = 5  # secrets that sign at once: each adds some 50 characters to a header of every delivery
TRIES_LIMIT: Final = 50  # of one delivery, including requested redeliveries: bounds its log
DEFAULT_EVENTS: Final = ("output", "completed")  # what Replicate sends without a filter

DeliveryStatus = Literal["pending", "delivered", "failed", "skipped"]
DeliveryEvent = Literal["start", "output", "logs", "completed"]
EndpointStatus = Literal["active", "paused", "disabled"]


class WebhookSecret(msgspec.Struct):
    """`key` is a Standard Webhooks secret: `whsec_` and base64."""

    key: str


class RotatedSecret(msgspec.Struct, kw_only=True):
    """`key` signs from now on; what signed before goes on signing beside it for the overlap."""

    key: Annotated[str, Meta(description="The new secret: `whsec_` and base64.")]
    previous_sign_until: Annotated[str | None, Meta(description="Null when there is no overlap.")]


class WebhookTry(msgspec.Struct, kw_only=True):
    """One request to the receiver."""

    at: Timestamp
    duration_s: float
    status: Annotated[int | None, Meta(description="The receiver's; null when there was no answer.")]
    error: Annotated[str | None, Meta(description="Why it did not count as delivered.")]
    response: Annotated[
        str | None, Meta(description="The beginning of the answer's body; null once the prediction's data is gone.")
    ] = None


class WebhookDelivery(msgspec.Struct, kw_only=True):
    """What a receiver was to be told of one event of a prediction."""

    id: Annotated[str, Meta(description="The `webhook-id` header: the same at every try.")]
    prediction: str
    event: DeliveryEvent
    url: str
    status: Annotated[
        DeliveryStatus,
        Meta(description="What the last try came to; `skipped`: not tried, for the endpoint is disabled."),
    ]
    tries: int
    last_status: int | None
    last_error: str | None
    next_try_at: Annotated[str | None, Meta(description="Of a pending one.")]
    created_at: Timestamp
    completed_at: str | None


class WebhookDeliveryInFull(WebhookDelivery, kw_only=True):
    """With its tries, and the body while the prediction's data is kept."""

    log: list[WebhookTry]
    body: Annotated[
        str | None,
        Meta(
            description=(
                "The text that was sent. Null before the first try, for progress events, and once the data is gone."
            )
        ),
    ]


class WebhookEndpoint(msgspec.Struct, kw_only=True):
    """A receiver: a host with its port, or one path of it that answered 410 Gone."""

    id: str
    host: str
    path: Annotated[str | None, Meta(description="Null: the whole host.")]
    status: Annotated[
        EndpointStatus,
        Meta(description="`paused`: not tried until `paused_until`; `disabled`: not tried until it is enabled."),
    ]
    failures: Annotated[int, Meta(description="In a row.")]
    failing_since: str | None
    paused_until: str | None
    disabled_at: str | None
    disabled_reason: str | None
    succeeded_at: Annotated[str | None, Meta(description="To the minute.")]
    failed_at: str | None
    created_at: Timestamp


class MirroredWebhook(msgspec.Struct, kw_only=True):
    """One event of GET /webhooks/listen: a webhook as its receiver gets it, headers and all."""

    event: DeliveryEvent
    prediction: str
    url: Annotated[str | None, Meta(description="Where it goes besides; null for a prediction without a webhook.")]
    headers: dict[str, str]
    body: Annotated[str, Meta(description="The text that the signature is of.")]

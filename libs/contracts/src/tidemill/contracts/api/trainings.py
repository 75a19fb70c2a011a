"""Trainings as they are on the wire, and the body that creates one."""

from typing import Annotated

import msgspec
from msgspec import Meta, Raw

from tidemill.contracts.api.deployments import MODEL_LIMIT_CHARS
from tidemill.contracts.api.fields import Url, WebhookEventName
from tidemill.contracts.api.predictions import Prediction


class CreateTraining(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`input` is checked against the TrainingInput of the version's schema."""

    destination: Annotated[
        str,
        Meta(max_length=MODEL_LIMIT_CHARS, description="`owner/name` of a model of one's own: the new version's."),
    ]
    input: Raw
    webhook: Url | None = None
    webhook_completed: Url | None = None
    webhook_events_filter: list[WebhookEventName] | None = None


class Training(Prediction, kw_only=True):
    """A training as clients see it: a prediction's members, and where the new version goes.

    The output of one that succeeded is `{"version": "owner/name:id", "weights": URL}`.
    """

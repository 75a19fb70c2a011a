"""The query parameters of operations, as structs: what they decode to, and their descriptions for the reference.

Unknown parameters are ignored, as by Replicate.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tidemill.contracts import patterns
from tidemill.contracts.api.fields import Name
from tidemill.contracts.api.webhooks import OVERLAP_LIMIT_S, OVERLAP_S, DeliveryStatus
from tidemill.contracts.limits import SEARCH_LIMIT_CHARS

Id = Annotated[str, Meta(pattern=patterns.ID)]
Owned = Annotated[str, Meta(pattern=patterns.OWNER_AND_NAME)]
Moment = Annotated[datetime, Meta(tz=True, description="ISO 8601; UTC where it names no time zone")]


class PageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The query of a list: `cursor` is what a page's `next` or `previous` holds."""

    cursor: str | None = None


class PredictionsQuery(PageQuery, frozen=True, kw_only=True):
    """All but `created_after`, `created_before` and `source=web` are extensions."""

    created_after: Moment | None = None
    created_before: Annotated[Moment | None, Meta(description="Exclusive")] = None
    source: Literal["web", "api"] | None = None
    model: Owned | None = None
    version: Annotated[str, Meta(pattern=patterns.SHA256)] | None = None
    deployment: Owned | None = None
    status: Annotated[str, Meta(pattern=patterns.STATUS_LIST)] | None = None

    def __post_init__(self) -> None:
        for moment in (self.created_after, self.created_before):
            try:
                _ = moment and moment.astimezone(UTC)  # as it is passed to PostgreSQL
            except OverflowError:
                raise ValueError("In UTC the years go from 1 to 9999") from None


class ModelsQuery(PageQuery, frozen=True, kw_only=True):
    """Both are extensions. `owner`: only models of this account; of the caller's own also those that are not listed.
    `query`: the models that QUERY /models finds for this text, in the order of that search.
    """

    sort_by: Literal["model_created_at", "latest_version_created_at"] = "latest_version_created_at"
    sort_direction: Literal["asc", "desc"] = "desc"
    owner: Name | None = None
    query: Annotated[str, Meta(max_length=SEARCH_LIMIT_CHARS)] | None = None


class SearchQuery(msgspec.Struct, frozen=True, kw_only=True):
    """`limit`: how many models at most."""

    query: Annotated[str, Meta(min_length=1, max_length=SEARCH_LIMIT_CHARS)]
    limit: Annotated[int, Meta(ge=1, le=50)] = 20


class TokensQuery(PageQuery, frozen=True, kw_only=True):
    """`account`: only tokens that act for the account of this username."""

    account: Name | None = None


class DeliveriesQuery(PageQuery, frozen=True, kw_only=True):
    """`prediction`: of this prediction; `endpoint`: to this endpoint, by its id."""

    prediction: Id | None = None
    status: DeliveryStatus | None = None
    endpoint: Id | None = None


class RotateSecretQuery(msgspec.Struct, frozen=True, kw_only=True):
    """`overlap_s`: how long the previous secret also signs; with 0 all earlier ones stop at once."""

    overlap_s: Annotated[int, Meta(ge=0, le=OVERLAP_LIMIT_S)] = OVERLAP_S


class ListenQuery(msgspec.Struct, frozen=True, kw_only=True):
    """`all`: predictions without a webhook too."""

    all: bool = False


class SignatureQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A signed download: `expiry` in unix seconds."""

    owner: str
    expiry: Annotated[int, Meta(ge=0, le=10**12)]
    signature: str

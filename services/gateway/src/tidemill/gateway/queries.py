"""The query parameters that operations understand, as structs: what they decode, and what the reference says of them.

Unknown parameters are ignored, as Replicate does.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tidemill.contracts.api import Name

Moment = Annotated[datetime, Meta(tz=True, description="ISO 8601, with a time zone")]


class Paging(msgspec.Struct, frozen=True, kw_only=True):
    """The query of a list: `cursor` is what a page's `next` or `previous` holds."""

    cursor: str | None = None


class Predictions(Paging, frozen=True, kw_only=True):
    created_after: Moment | None = None
    created_before: Moment | None = None
    source: Literal["web"] | None = None


class Models(Paging, frozen=True, kw_only=True):
    sort_by: Literal["model_created_at", "latest_version_created_at"] = "latest_version_created_at"
    sort_direction: Literal["asc", "desc"] = "desc"


class Tokens(Paging, frozen=True, kw_only=True):
    """`account`: only tokens that act for the account of this username."""

    account: Name | None = None


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A signed download: `expiry` in unix seconds."""

    owner: str
    expiry: Annotated[int, Meta(ge=0, le=10**12)]
    signature: str

"""Types of single members that several objects of the API share: names, URLs, times."""

from typing import Annotated, Literal

from msgspec import Meta, UnsetType

from tidemill.contracts import patterns
from tidemill.contracts.limits import DESCRIPTION_LIMIT_CHARS, NAME_LIMIT_CHARS, URL_LIMIT_BYTES

Name = Annotated[str, Meta(pattern=patterns.NAME, max_length=NAME_LIMIT_CHARS)]
Url = Annotated[str, Meta(max_length=URL_LIMIT_BYTES)]
Description = Annotated[str, Meta(max_length=DESCRIPTION_LIMIT_CHARS)]
WebhookEventName = Literal["start", "output", "logs", "completed"]
Visibility = Literal["public", "private"]
LinkOrEmpty = Annotated[str, Meta(pattern=patterns.LINK_OR_EMPTY, max_length=URL_LIMIT_BYTES)]  # empty: same as null
TextIfSet = Annotated[str, Meta(description="Left out while it is not set")] | UnsetType
Timestamp = Annotated[str, Meta(description="ISO 8601 in UTC.")]

"""API tokens as their owners see them. All of it is an extension."""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from tidemill.contracts.api.accounts import DisplayName
from tidemill.contracts.api.fields import Name

SCOPES_LIMIT: Final = 64  # several times the number of scopes
SCOPE_LIMIT_CHARS: Final = 64
TOKEN_LIFETIME_LIMIT_S: Final = 10 * 365 * 24 * 3600  # longer lifetimes are as good as none

ScopeName = Annotated[str, Meta(max_length=SCOPE_LIMIT_CHARS)]
ExpiryTime = Annotated[datetime, Meta(tz=True, description="ISO 8601, with a time zone.")]


class CreateToken(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[DisplayName, Meta(description="What the token is for.")]
    scopes: Annotated[
        list[ScopeName], Meta(min_length=1, max_length=SCOPES_LIMIT, description='Scopes, or ["*"] for all.')
    ] = msgspec.field(default_factory=lambda: ["*"])
    account: Annotated[
        Name | None,
        Meta(description="Whom it acts for: an organization that one is in; the caller's own account when left out."),
    ] = None
    expires_at: ExpiryTime | None = None
    expires_in_s: Annotated[int, Meta(ge=1, le=TOKEN_LIFETIME_LIMIT_S, description="Instead of expires_at.")] | None = (
        None
    )


class Token(msgspec.Struct, kw_only=True):
    """An API token, without its secret. A token that was revoked is gone; one that has expired stays listed."""

    id: str
    name: str
    last4: Annotated[str, Meta(description="The last four characters, to tell it by.")]
    scopes: list[str]
    account: Annotated[str, Meta(description="The username of the account that it acts for.")]
    created_by: Annotated[str | None, Meta(description="The user who made it; null: the operator.")]
    created_at: str
    expires_at: str | None
    last_used_at: Annotated[str | None, Meta(description="To the minute.")]


class NewToken(Token, kw_only=True):
    token: Annotated[str, Meta(description="The secret: shown this once and kept nowhere.")]

"""Accounts, organizations with their members, and API tokens as they are on the wire. All but `Account`: extensions."""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tidemill.contracts import patterns
from tidemill.contracts.access import Role
from tidemill.contracts.api import Account, Name, WhereSet
from tidemill.contracts.api_events import EventsAccess
from tidemill.contracts.limits import URL_LIMIT_BYTES

DISPLAY_NAME_LIMIT_CHARS: Final = 128  # names of people and firms, not essays
SCOPES_LIMIT: Final = 64  # several times as many as there are
SCOPE_LIMIT_CHARS: Final = 64
TOKEN_LIFETIME_LIMIT_S: Final = 10 * 365 * 24 * 3600  # who wants longer wants none
RETENTION_MINIMUM_S: Final = 60  # a client that polls every few seconds must have a chance to see the output

# Paths of the website that an account's page must not stand in the way of.
RESERVED_USERNAMES: Final = frozenset({
    "about", "account", "admin", "api", "app", "blog", "changelog", "collections", "create", "dashboard", "deployments",
    "docs", "explore", "files", "hardware", "health", "help", "login", "logout", "models", "organizations", "p",
    "playground", "predictions", "pricing", "search", "settings", "signin", "signup", "static", "status", "streams",
    "support", "terms", "tokens", "trainings", "users", "v1", "webhooks", "www",
})  # fmt: skip

DisplayName = Annotated[str, Meta(pattern=patterns.LINE, min_length=1, max_length=DISPLAY_NAME_LIMIT_CHARS)]
Link = Annotated[str, Meta(pattern=patterns.LINK, max_length=URL_LIMIT_BYTES)]
Moment = Annotated[datetime, Meta(tz=True, description="ISO 8601, with a time zone.")]
ScopeName = Annotated[str, Meta(max_length=SCOPE_LIMIT_CHARS)]


class OwnAccount(Account, kw_only=True):
    """The account that a token acts for, and what the token may do."""

    id: str
    created_at: str
    retention_s: Annotated[
        int | None,
        Meta(description="Seconds that predictions' data is kept after they end; null: the service's own time."),
    ]
    role: Annotated[Role, Meta(description="Of whoever made the token, in the account; `owner` in one's own.")]
    scopes: Annotated[list[str], Meta(description="What this token may do, role and all.")]
    events: Annotated[
        EventsAccess | UnsetType,
        Meta(description="How to hear events on NATS; absent where there are none, or the token may not read them."),
    ] = UNSET


class UpdateAccount(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays as it is; null empties it."""

    name: DisplayName | UnsetType = UNSET
    github_url: Link | UnsetType | None = UNSET
    avatar_url: Link | UnsetType | None = UNSET
    retention_s: Annotated[
        int | UnsetType | None,
        Meta(description="At least 60, at most the service's own time; null: the service's own time."),
    ] = UNSET


class CreateOrganization(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    username: Annotated[Name, Meta(description="In URLs and model names; users and organizations share one namespace.")]
    name: Annotated[DisplayName | None, Meta(description="The name to show; the username when left out.")] = None


class Organization(msgspec.Struct, kw_only=True):
    """An account that several users share."""

    id: str
    username: str
    name: str
    github_url: WhereSet = UNSET
    avatar_url: WhereSet = UNSET
    retention_s: int | None
    created_at: str
    role: Annotated[Role, Meta(description="The caller's.")]


class Member(msgspec.Struct, kw_only=True):
    """A user in an organization."""

    username: str
    name: str
    avatar_url: WhereSet = UNSET
    role: Role
    created_at: str


class SetMember(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    role: Role


class CreateToken(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[DisplayName, Meta(description="What the token is for.")]
    scopes: Annotated[
        list[ScopeName], Meta(min_length=1, max_length=SCOPES_LIMIT, description='Scopes, or ["*"] for all.')
    ] = msgspec.field(default_factory=lambda: ["*"])
    account: Annotated[
        Name | None,
        Meta(description="Whom it acts for: an organization that one is in; the caller's own account when left out."),
    ] = None
    expires_at: Moment | None = None
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

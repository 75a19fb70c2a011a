"""Accounts and organizations with their members. Everything except `Account` is an extension."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tidemill.contracts import patterns
from tidemill.contracts.access import Role
from tidemill.contracts.api.event_consumers import EventsAccess
from tidemill.contracts.api.fields import Name, TextIfSet
from tidemill.contracts.limits import URL_LIMIT_BYTES

DISPLAY_NAME_LIMIT_CHARS: Final = 128  # names of people and firms, not essays
RETENTION_MINIMUM_S: Final = 60  # a client that polls every few seconds must have a chance to see the output

# Paths of the website that usernames must not shadow.
RESERVED_USERNAMES: Final = frozenset({
    "about", "account", "admin", "api", "app", "blog", "changelog", "collections", "create", "dashboard", "deployments",
    "docs", "explore", "files", "hardware", "health", "help", "login", "logout", "models", "organizations", "p",
    "playground", "predictions", "pricing", "search", "settings", "signin", "signup", "static", "status", "streams",
    "support", "terms", "tokens", "trainings", "users", "v1", "webhooks", "www",
})  # fmt: skip

DisplayName = Annotated[str, Meta(pattern=patterns.SINGLE_LINE, min_length=1, max_length=DISPLAY_NAME_LIMIT_CHARS)]
Link = Annotated[str, Meta(pattern=patterns.LINK, max_length=URL_LIMIT_BYTES)]


class Account(msgspec.Struct, kw_only=True):
    type: Literal["user", "organization"]
    username: str
    name: str
    github_url: TextIfSet = UNSET
    avatar_url: TextIfSet = UNSET


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
    github_url: TextIfSet = UNSET
    avatar_url: TextIfSet = UNSET
    retention_s: int | None
    created_at: str
    role: Annotated[Role, Meta(description="The caller's.")]


class Member(msgspec.Struct, kw_only=True):
    """A user in an organization."""

    username: str
    name: str
    avatar_url: TextIfSet = UNSET
    role: Role
    created_at: str


class SetMember(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    role: Role

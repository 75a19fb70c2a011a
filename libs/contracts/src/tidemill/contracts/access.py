"""Who may do what: scopes of tokens and roles in organizations. Pure.

A token acts for one account with the scopes it was made with; for an organization no further than its maker's role
reaches.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, Literal

Role = Literal["owner", "member", "viewer"]


class Scope(StrEnum):
    """What a token may be allowed; a route asks for one of them."""

    ACCOUNT_READ = "account:read"
    ACCOUNT_WRITE = "account:write"  # tokens, organizations, members
    PREDICTIONS_READ = "predictions:read"
    PREDICTIONS_WRITE = "predictions:write"
    MODELS_READ = "models:read"
    MODELS_WRITE = "models:write"
    DEPLOYMENTS_READ = "deployments:read"
    DEPLOYMENTS_WRITE = "deployments:write"
    TRAININGS_READ = "trainings:read"
    TRAININGS_WRITE = "trainings:write"
    FILES_READ = "files:read"
    FILES_WRITE = "files:write"
    WEBHOOKS_READ = "webhooks:read"  # the signing secret too: whoever has it can forge deliveries
    WEBHOOKS_WRITE = "webhooks:write"


ALL_SCOPES: Final = frozenset(Scope)
WILDCARD: Final = "*"  # in a token's list: all scopes, those of later releases too
READ_SCOPES: Final = frozenset(scope for scope in Scope if scope.endswith(":read") and scope is not Scope.WEBHOOKS_READ)

ROLE_SCOPES: Final[dict[Role, frozenset[Scope]]] = {
    "owner": ALL_SCOPES,
    "member": ALL_SCOPES - {Scope.ACCOUNT_WRITE},
    "viewer": READ_SCOPES,
}


def unknown_scopes(scopes: Iterable[str]) -> list[str]:
    """The names among these that are no scopes."""
    return sorted(frozenset(scopes) - frozenset(Scope) - {WILDCARD})


def excess_scopes(wanted: Iterable[str], held: Iterable[str], role: Role = "owner") -> list[str]:
    """What a token may not be given by the holder of `held`, for an account in which that holder has this role.

    `*` goes on only from `*`: it would grant what a later release adds. It stays within the role by itself.
    """
    asked, has = frozenset(wanted), frozenset(held)
    named = frozenset(scope for scope in Scope if scope in asked) - granted_scopes(has, role)
    return sorted(named | ({WILDCARD} if WILDCARD in asked - has else frozenset()))


def granted_scopes(scopes: Iterable[str], role: Role = "owner") -> frozenset[Scope]:
    """What a token with these scopes may do for an account in which its maker has this role.

    Names that are no scope (any more) grant nothing.
    """
    named = frozenset(scopes)
    asked = ALL_SCOPES if WILDCARD in named else frozenset(scope for scope in Scope if scope in named)
    return asked & ROLE_SCOPES[role]

"""Scopes of tokens and roles in organizations. Pure.

A token acts for one account with its own scopes. For an organization the role of its creator limits them further.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, Literal

Role = Literal["owner", "member", "viewer"]


class Scope(StrEnum):
    """What a token can be allowed to do; a route requires one scope."""

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
    WEBHOOKS_READ = "webhooks:read"  # includes the signing secret, which can forge deliveries
    WEBHOOKS_WRITE = "webhooks:write"


ALL_SCOPES: Final = frozenset(Scope)
WILDCARD: Final = "*"  # in a token's list: all scopes, including those of later releases
READ_SCOPES: Final = frozenset(scope for scope in Scope if scope.endswith(":read") and scope is not Scope.WEBHOOKS_READ)

ROLE_SCOPES: Final[dict[Role, frozenset[Scope]]] = {
    "owner": ALL_SCOPES,
    "member": ALL_SCOPES - {Scope.ACCOUNT_WRITE},
    "viewer": READ_SCOPES,
}


def unknown_scopes(scopes: Iterable[str]) -> list[str]:
    """Return the names that are not scopes, sorted."""
    return sorted(frozenset(scopes) - frozenset(Scope) - {WILDCARD})


def excess_scopes(wanted: Iterable[str], held: Iterable[str], role: Role = "owner") -> list[str]:
    """Return the wanted scopes that a holder of `held` with this role may not give to a token, sorted.

    Only a holder of `*` may give `*`, because it also grants scopes of later releases.
    """
    asked, has = frozenset(wanted), frozenset(held)
    named = frozenset(scope for scope in Scope if scope in asked) - granted_scopes(has, role)
    return sorted(named | ({WILDCARD} if WILDCARD in asked - has else frozenset()))


def granted_scopes(scopes: Iterable[str], role: Role = "owner") -> frozenset[Scope]:
    """Return what a token with these scopes may do for an account in which its creator has this role.

    Unknown and former scopes grant nothing.
    """
    named = frozenset(scopes)
    asked = ALL_SCOPES if WILDCARD in named else frozenset(scope for scope in Scope if scope in named)
    return asked & ROLE_SCOPES[role]

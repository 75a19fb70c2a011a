"""The NATS accounts of an installation for the server's configuration: services, external subscribers, system. Pure.

External subscribers have an account of their own. Only the subjects named here connect it with that of the services:
events for the subscribers, and their requests to durable consumers. Operators configure their own servers alike.
"""

from collections.abc import Sequence
from typing import Any, Final

from tidemill.contracts import subjects

SYSTEM_ACCOUNT: Final = "SYS"
# External subscribers share the server with the services and must not use up its resources.
OUTSIDE_CONNECTIONS_LIMIT: Final = 5_000
OUTSIDE_SUBSCRIPTIONS_LIMIT: Final = 64  # of one connection: its subjects and one or two inboxes
OUTSIDE_PAYLOAD_LIMIT_BYTES: Final = 4096  # pull requests and acknowledgements are smaller
# A gateway that restarts answers a callout late; clients give up after about two seconds.
AUTH_TIMEOUT_S: Final = 5


def configuration(user: str, password: str, issuer: str) -> dict[str, Any]:
    """Return `accounts`, `system_account` and `authorization`. `issuer` is the public key of the gateways' seed."""
    return {
        "accounts": {
            subjects.SERVICES_ACCOUNT: _services(user, password),
            subjects.EXTERNAL_ACCOUNT: _outside(),
            SYSTEM_ACCOUNT: {"exports": [_service(subject, subjects.SERVICES_ACCOUNT) for subject in _system()]},
        },
        "system_account": SYSTEM_ACCOUNT,
        "authorization": {
            "timeout": AUTH_TIMEOUT_S,
            "auth_callout": {"issuer": issuer, "account": subjects.SERVICES_ACCOUNT, "auth_users": [user]},
        },
    }


def _services(user: str, password: str) -> dict[str, Any]:
    events = [{"stream": f"{kind}.>", "accounts": [subjects.EXTERNAL_ACCOUNT]} for kind in subjects.KINDS]
    return {
        "jetstream": "enabled",
        "users": [{"user": user, "password": password}],
        "exports": [*events, *(_service(subject, subjects.EXTERNAL_ACCOUNT) for subject in _crossing())],
        "imports": [_import(SYSTEM_ACCOUNT, subject, subject) for subject in _system()],
    }


def _outside() -> dict[str, Any]:
    account = subjects.SERVICES_ACCOUNT
    events = [{"stream": {"account": account, "subject": f"{kind}.>"}} for kind in subjects.KINDS]
    return {
        "limits": {
            "max_connections": OUTSIDE_CONNECTIONS_LIMIT,
            "max_subscriptions": OUTSIDE_SUBSCRIPTIONS_LIMIT,
            "max_payload": OUTSIDE_PAYLOAD_LIMIT_BYTES,
        },
        "imports": [*events, *(_import(account, subject, subjects.external(subject)) for subject in _crossing())],
    }


def _crossing() -> Sequence[str]:
    return (subjects.CONSUMER_NEXT, subjects.CONSUMER_INFO, subjects.CONSUMER_ACK)


def _system() -> Sequence[str]:
    """Return the subjects with which gateways end connections of tokens that are not valid any more."""
    return (subjects.CONNECTIONS, subjects.KICK)


def _service(subject: str, account: str) -> dict[str, Any]:
    # A stream of responses: one pull returns many messages, and every server of a cluster lists its connections.
    return {"service": subject, "response_type": "stream", "accounts": [account]}


def _import(account: str, subject: str, name: str) -> dict[str, Any]:
    """`name` is the subject in the importing account."""
    return {"service": {"account": account, "subject": subject}, "to": name}

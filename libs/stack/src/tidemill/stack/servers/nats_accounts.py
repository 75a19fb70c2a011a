"""The NATS accounts of an installation, as the server's configuration says them: services, outsiders, system. Pure.

Outsiders have an account of their own, and only what is named here crosses into the services': events out, and what
using a durable consumer takes in. Operators write the same into their own servers' configuration.
"""

from collections.abc import Sequence
from typing import Any, Final

from tidemill.contracts import subjects

SYSTEM_ACCOUNT: Final = "SYS"
# Outsiders share a server with the services, and must not use up what these need.
OUTSIDE_CONNECTIONS_LIMIT: Final = 5_000
OUTSIDE_SUBSCRIPTIONS_LIMIT: Final = 64  # of one connection: its subjects and an inbox or two
OUTSIDE_PAYLOAD_LIMIT_BYTES: Final = 4096  # pull requests and acknowledgements are smaller
# A gateway that restarts answers a callout late; a client gives up after two seconds or so by itself.
AUTH_TIMEOUT_S: Final = 5


def configuration(user: str, password: str, issuer: str) -> dict[str, Any]:
    """The keys `accounts`, `system_account` and `authorization`; `issuer` is the public key of the gateways' seed."""
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
    """What gateways may ask of the servers, to end the connections of tokens that no longer count."""
    return (subjects.CONNECTIONS, subjects.KICK)


def _service(subject: str, account: str) -> dict[str, Any]:
    # A stream of responses: one pull brings many messages, and every server of a cluster tells its connections.
    return {"service": subject, "response_type": "stream", "accounts": [account]}


def _import(account: str, subject: str, name: str) -> dict[str, Any]:
    """`name` is what the importing account calls it."""
    return {"service": {"account": account, "subject": subject}, "to": name}

"""What an external subscriber may do on NATS: subscribe to its account's events that its token may read, and use its
durable consumers. Pure.

Nothing else is ever allowed. The subjects it may publish to address its own durable consumers only.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec

from tidemill.contracts import subjects
from tidemill.contracts.access import Scope
from tidemill.contracts.subjects import KINDS, Kind

SCOPES: Final[dict[Kind, Scope]] = {"prediction": Scope.PREDICTIONS_READ, "training": Scope.TRAININGS_READ}


class EventConsumer(msgspec.Struct, frozen=True):
    id: str
    kinds: tuple[Kind, ...]


class Permissions(msgspec.Struct, frozen=True):
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def readable_kinds(scopes: Collection[Scope]) -> tuple[Kind, ...]:
    """Return the kinds of predictions whose events the scopes allow to read."""
    return tuple(kind for kind in KINDS if SCOPES[kind] in scopes)


def event_subjects(account_id: str, kinds: Sequence[Kind]) -> tuple[str, ...]:
    return tuple(subjects.events_of(account_id, kind) for kind in kinds)


def permissions(
    account_id: str, token_id: str, kinds: Sequence[Kind], consumers: Iterable[EventConsumer]
) -> Permissions:
    """`consumers`: all of the account. Those that deliver more than the token may read are left out."""
    usable = [consumer for consumer in consumers if set(consumer.kinds) <= set(kinds)]
    return Permissions(
        publish=tuple(subject for consumer in usable for subject in subjects.consumer_subjects(consumer.id)),
        subscribe=(*event_subjects(account_id, kinds), f"{subjects.inbox(token_id)}.>"),
    )


def label(token_id: str, kinds: Sequence[Kind]) -> str:
    """Return the first part of a connection's name: its token and kinds, which the connection monitor compares."""
    return ".".join((token_id, *kinds))


def token_of(label: str) -> str:
    """Return the token's id in a label."""
    return label.partition(".")[0]

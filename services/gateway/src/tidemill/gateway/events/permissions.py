"""What an outside subscriber may do on NATS: hear its account's subjects that its token may read, use its consumers.

Pure. Nothing else is ever allowed; what may be published leads to the subscriber's own durable consumers only.
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
    """The kinds of events that scopes cover."""
    return tuple(kind for kind in KINDS if SCOPES[kind] in scopes)


def event_subjects(account_id: str, kinds: Sequence[Kind]) -> tuple[str, ...]:
    return tuple(subjects.events_of(account_id, kind) for kind in kinds)


def permissions(
    account_id: str, token_id: str, kinds: Sequence[Kind], consumers: Iterable[EventConsumer]
) -> Permissions:
    """`consumers` are all of the account; one that brings more than the token may read is not for it."""
    usable = [consumer for consumer in consumers if set(consumer.kinds) <= set(kinds)]
    return Permissions(
        publish=tuple(subject for consumer in usable for subject in subjects.consumer_subjects(consumer.id)),
        subscribe=(*event_subjects(account_id, kinds), f"{subjects.inbox(token_id)}.>"),
    )


def label(token_id: str, kinds: Sequence[Kind]) -> str:
    """The name of a connection at the NATS server: whose it is and what it was allowed, for the watch to compare."""
    return ".".join((token_id, *kinds))


def token_of(connection: str) -> str:
    """The token's id in a label."""
    return connection.partition(".")[0]

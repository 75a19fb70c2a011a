"""Access to lifecycle events on NATS for external subscribers. All of it is an extension."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from tidemill.contracts import patterns
from tidemill.contracts.subjects import Kind

EVENT_CONSUMERS_LIMIT: Final = 20  # of one account; each costs the NATS server memory and a check of every event
CONSUMER_NAME_LIMIT_CHARS: Final = 64

ConsumerName = Annotated[
    str,
    Meta(
        pattern=patterns.CONSUMER_NAME,
        min_length=1,
        max_length=CONSUMER_NAME_LIMIT_CHARS,
        description="Unique within the account.",
    ),
]
Kinds = Annotated[list[Kind], Meta(min_length=1, max_length=2, description="What to hear of.")]


class CreateEventConsumer(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: ConsumerName
    events: Annotated[Kinds | None, Meta(description="Left out: all that the token may read.")] = None


class EventConsumer(msgspec.Struct, kw_only=True):
    """A durable consumer: NATS remembers for it what has been acknowledged."""

    id: str
    name: str
    events: list[Kind]
    stream: Annotated[str, Meta(description="The JetStream stream to bind to.")]
    consumer: Annotated[str, Meta(description="The consumer's name on that stream.")]
    created_at: Annotated[str, Meta(description="It gets the events since then, as far as they are still kept.")]


class EventConsumerState(EventConsumer, kw_only=True):
    """A consumer, and how far it is; the numbers are null while NATS does not know it."""

    waiting: Annotated[int | None, Meta(description="Events not delivered yet.")]
    unacknowledged: Annotated[int | None, Meta(description="Events delivered and not acknowledged yet.")]
    last_delivered_at: Annotated[str | None, Meta(description="When it was last given an event, since NATS knows it.")]
    missed: Annotated[
        int,
        Meta(
            description="Events that were removed before it got them, because the account held more of the stream than "
            "its share; those that grew too old are not counted. It only grows."
        ),
    ]
    missed_since: Annotated[str | None, Meta(description="When the first event that it missed happened.")]
    missed_until: Annotated[
        str | None, Meta(description="It has missed nothing that happened since then; null when it missed nothing.")
    ]


class EventsAccess(msgspec.Struct, kw_only=True):
    """How this token's bearer hears events on NATS."""

    url: Annotated[str, Meta(description="Connect here, with the API token as the token.")]
    subjects: Annotated[list[str], Meta(description="What this token may subscribe to.")]
    inbox_prefix: Annotated[str, Meta(description="The client must make its inboxes below it, to use a consumer.")]
    connections_limit: Annotated[
        int, Meta(description="Connections that the account may have; NATS refuses further ones.")
    ]
    connections: Annotated[int, Meta(description="How many it has, as far as is known here.")]
    jetstream_domain: Annotated[str, Meta(description="The JetStream domain that a consumer is reached under.")]

"""Every NATS subject and stream, as values. No other module spells a subject.

Jobs and output are hints and live in memory: after a restart of NATS the rows re-drive what was open, and nothing
that had finished runs again. Lifecycle events are kept on disk for subscribers, no longer than the data they carry.
"""

from typing import Final, Literal, NamedTuple

from tidemill.contracts.limits import MIB

EventName = Literal["started", "completed"]
Kind = Literal["prediction", "training"]  # of a prediction's row; the first word of its events' subjects
KINDS: Final[tuple[Kind, ...]] = ("prediction", "training")


class Stream(NamedTuple):
    """A JetStream stream; `max_age_s` None stands for the configured retention."""

    name: str
    subjects: tuple[str, ...]
    storage: Literal["file", "memory"]
    max_bytes: int
    max_age_s: int | None
    discard: Literal["old", "new"]


# PREDICTIONS is kept below its bound by the janitor, each account to its share; its bound is configured.
# discard "old" throughout: a dropped hint or chunk is re-driven or re-read from its row, and a full stream must never
# stop predictions.
JOBS: Final = Stream("JOBS", ("job.>",), "memory", 256 * MIB, 600, "old")
PREDICTIONS: Final = Stream("PREDICTIONS", ("prediction.>", "training.>"), "file", 1024 * MIB, None, "old")
OUTPUT: Final = Stream("OUTPUT", ("output.>",), "memory", 256 * MIB, None, "old")
STREAMS: Final = (JOBS, PREDICTIONS, OUTPUT)


def direct_get(stream: Stream) -> str:
    """Where a stream's messages can be asked for without a consumer."""
    return f"$JS.API.DIRECT.GET.{stream.name}"


def info(stream: Stream) -> str:
    """Where a stream tells of itself."""
    return f"$JS.API.STREAM.INFO.{stream.name}"


def purge(stream: Stream) -> str:
    """Where a stream is told to remove messages."""
    return f"$JS.API.STREAM.PURGE.{stream.name}"


def job(queue: str) -> str:
    """Job hints of one queue (a version's or deployment's id)."""
    return f"job.{queue}"


def job_consumer(queue: str) -> str:
    """The name of the durable consumer that the queue's workers share."""
    return f"jobs-{queue}"


def prediction(account: str, event: EventName, gateway: str, kind: Kind = "prediction") -> str:
    """Lifecycle events of one account; the last token names the gateway that may hold a waiting request."""
    return f"{kind}.{account}.{event}.{gateway}"


def events_of(account: str, kind: Kind) -> str:
    """All lifecycle events of one kind that an account may hear."""
    return f"{kind}.{account}.>"


def account_of_event(event: str) -> str:
    """Whose lifecycle event has this subject."""
    return event.split(".")[1]


def gateway_events(gateway: str) -> str:
    """What a gateway listens to: all lifecycle events of predictions that it accepted."""
    return f"prediction.*.completed.{gateway}"


def output(prediction_id: str) -> str:
    """Chunks of one prediction, in order, ending with a done chunk."""
    return f"output.{prediction_id}"


DEMAND: Final = "fleet.demand"  # a queue has work and perhaps no instance: gateway to scheduler
HEARTBEAT: Final = "fleet.heartbeat"  # the state of one worker, every second
PUSH_QUEUED: Final = "fleet.push"  # a push waits for a worker to make its schema
VERSION_CREATED: Final = "fleet.version"  # a version was made: workers may fetch ahead what it needs
WEBHOOK: Final = "webhook.event"  # something for the webhook dispatcher
PROGRESS_STATE: Final = "webhook.settle"  # one dispatcher asks the leading one whether progress is still on its way
LOAD: Final = "fleet.load"  # the scheduler tells gateways what waits and what is open
PRIORITY_WAITING: Final = "fleet.urgent"  # an account has a prediction with a priority in a queue: gateway to workers
QUEUE_REMOVED: Final = "fleet.removed"  # a version was deleted: whoever runs instances of its queue may stop them
WAITING_LIST: Final = "fleet.line"  # a gateway asks the scheduler who waits in a queue
WARM_QUEUES: Final = "fleet.warm"  # the scheduler tells gateways which queues have a ready instance


def command(worker: str) -> str:
    """Commands of the scheduler to one worker (request and reply)."""
    return f"fleet.command.{worker}"


CANCEL: Final = "fleet.cancel"  # a prediction was ended from outside: whoever runs it stops


# Outside subscribers live in a NATS account of their own: whoever may publish anything may name any subject for the
# reply, and in the services' account the server would then publish it there, into a stream's deletion for one.
SERVICES_ACCOUNT: Final = "TIDEMILL"
EXTERNAL_ACCOUNT: Final = "EVENTS"
AUTH_CALLOUT: Final = "$SYS.REQ.USER.AUTH"  # the server asks who a stranger is
CONNECTIONS: Final = f"$SYS.REQ.ACCOUNT.{EXTERNAL_ACCOUNT}.CONNZ"  # every server answers with its outside subscribers
SUBSCRIBER_ADMITTED: Final = "fleet.outsider"  # a gateway has let an outside subscriber in: all count it
KICK: Final = "$SYS.REQ.SERVER.*.KICK"
# What crosses from the outside into the services' account, for durable consumers. On the outside the API stands under a
# JetStream domain of its own: under its usual name the server itself answers that the account has no JetStream.
EXTERNAL_DOMAIN: Final = "events"
CONSUMER_NEXT: Final = f"$JS.API.CONSUMER.MSG.NEXT.{PREDICTIONS.name}.*"
CONSUMER_INFO: Final = f"$JS.API.CONSUMER.INFO.{PREDICTIONS.name}.*"
CONSUMER_ACK: Final = f"$JS.ACK.{PREDICTIONS.name}.>"


def external(crossing: str) -> str:
    """The name on the outside of a subject that crosses."""
    return crossing.replace("$JS.API.", f"$JS.{EXTERNAL_DOMAIN}.API.")


def kick(server: str) -> str:
    """Ends one connection of a NATS server."""
    return KICK.replace("*", server)


def consumer(identifier: str) -> str:
    """The name of a durable consumer of the outside, from its id; it cannot be guessed."""
    return f"events-{identifier}"


def consumer_subjects(identifier: str) -> tuple[str, ...]:
    """What a subscriber must publish to use its own durable consumer: pull, look, acknowledge."""
    name = consumer(identifier)
    api = [external(subject).replace("*", name) for subject in (CONSUMER_NEXT, CONSUMER_INFO)]
    return (*api, CONSUMER_ACK.replace(">", f"{name}.>"))


def inbox(token_id: str) -> str:
    """The prefix of the inboxes of whoever connects with this token."""
    return f"_INBOX_{token_id}"

"""All NATS subjects and streams. No other module contains a subject.

Jobs and output are hints in memory: after a restart of NATS the rows restore the hints of open predictions, and no
finished one runs again. Lifecycle events are kept on disk for subscribers, no longer than the data they carry.
"""

from typing import Final, Literal, NamedTuple

from tidemill.contracts.limits import MIB

EventName = Literal["started", "completed"]
Kind = Literal["prediction", "training"]  # of a prediction's row; the first token of its events' subjects
KINDS: Final[tuple[Kind, ...]] = ("prediction", "training")


class Stream(NamedTuple):
    """A JetStream stream. `max_age_s` None: the configured retention."""

    name: str
    subjects: tuple[str, ...]
    storage: Literal["file", "memory"]
    max_bytes: int
    max_age_s: int | None
    discard: Literal["old", "new"]


# The janitor keeps PREDICTIONS below its configured limit, each account within its share. discard "old" everywhere: a
# dropped hint or chunk is restored from its row, and a full stream must never stop predictions.
JOBS: Final = Stream("JOBS", ("job.>",), "memory", 256 * MIB, 600, "old")
PREDICTIONS: Final = Stream("PREDICTIONS", ("prediction.>", "training.>"), "file", 1024 * MIB, None, "old")
OUTPUT: Final = Stream("OUTPUT", ("output.>",), "memory", 256 * MIB, None, "old")
STREAMS: Final = (JOBS, PREDICTIONS, OUTPUT)


def direct_get(stream: Stream) -> str:
    """Return the subject of JetStream's direct get: reads messages without a consumer."""
    return f"$JS.API.DIRECT.GET.{stream.name}"


def info(stream: Stream) -> str:
    """Return the subject for a stream's state."""
    return f"$JS.API.STREAM.INFO.{stream.name}"


def purge(stream: Stream) -> str:
    """Return the subject for removing messages of a stream."""
    return f"$JS.API.STREAM.PURGE.{stream.name}"


def job(queue: str) -> str:
    """Return the subject of job hints of one queue (a version's or deployment's id)."""
    return f"job.{queue}"


def job_consumer(queue: str) -> str:
    """Return the name of the durable consumer that the queue's workers share."""
    return f"jobs-{queue}"


def prediction(account: str, event: EventName, gateway: str, kind: Kind = "prediction") -> str:
    """Return the subject of a lifecycle event. The last token names the gateway that may hold a waiting request."""
    return f"{kind}.{account}.{event}.{gateway}"


def events_of(account: str, kind: Kind) -> str:
    """Return the wildcard for all lifecycle events of one kind and account."""
    return f"{kind}.{account}.>"


def account_of_event(event: str) -> str:
    """Return the account in a lifecycle event's subject."""
    return event.split(".")[1]


def gateway_events(gateway: str) -> str:
    """Return the wildcard for the `completed` events of predictions that a gateway accepted."""
    return f"prediction.*.completed.{gateway}"


def output(prediction_id: str) -> str:
    """Return the subject of one prediction's output chunks, in order, ending with a done chunk."""
    return f"output.{prediction_id}"


DEMAND: Final = "fleet.demand"  # a queue has work and perhaps no instance: gateway to scheduler
HEARTBEAT: Final = "fleet.heartbeat"  # the state of one worker, every second
PUSH_QUEUED: Final = "fleet.push"  # a push waits for a worker to build it
VERSION_CREATED: Final = "fleet.version"  # a version was created: workers may prefetch its files
WEBHOOK: Final = "webhook.event"  # something for the webhook dispatcher
PROGRESS_STATE: Final = "webhook.settle"  # a dispatcher asks the leader whether progress is in flight
LOAD: Final = "fleet.load"  # waiting and open predictions: scheduler to gateways
PRIORITY_WAITING: Final = "fleet.urgent"  # an account has a priority prediction in a queue: gateway to workers
QUEUE_REMOVED: Final = "fleet.removed"  # a version was deleted: workers may stop its instances
WAITING_LIST: Final = "fleet.line"  # a gateway asks the scheduler which predictions wait in a queue
WARM_QUEUES: Final = "fleet.warm"  # queues with a ready instance: scheduler to gateways


def command(worker: str) -> str:
    """Return the subject of the scheduler's commands to one worker (request and reply)."""
    return f"fleet.command.{worker}"


CANCEL: Final = "fleet.cancel"  # a prediction was ended by another service: its worker stops the run


# External subscribers have a NATS account of their own: a client that may publish may choose any reply subject, and in
# the services' account the server would publish the reply there, for example as a deletion of a stream.
SERVICES_ACCOUNT: Final = "TIDEMILL"
EXTERNAL_ACCOUNT: Final = "EVENTS"
AUTH_CALLOUT: Final = "$SYS.REQ.USER.AUTH"  # the server asks the gateway to authenticate a client
CONNECTIONS: Final = f"$SYS.REQ.ACCOUNT.{EXTERNAL_ACCOUNT}.CONNZ"  # every server replies with its external connections
SUBSCRIBER_ADMITTED: Final = "fleet.outsider"  # a gateway admitted an external subscriber: all gateways count it
KICK: Final = "$SYS.REQ.SERVER.*.KICK"
# Subjects that the services' account exports to external subscribers, for durable consumers. They see the API under a
# JetStream domain of its own: under its usual name the server replies that the account has no JetStream.
EXTERNAL_DOMAIN: Final = "events"
CONSUMER_NEXT: Final = f"$JS.API.CONSUMER.MSG.NEXT.{PREDICTIONS.name}.*"
CONSUMER_INFO: Final = f"$JS.API.CONSUMER.INFO.{PREDICTIONS.name}.*"
CONSUMER_ACK: Final = f"$JS.ACK.{PREDICTIONS.name}.>"


def external(exported: str) -> str:
    """Return the external name of an exported subject."""
    return exported.replace("$JS.API.", f"$JS.{EXTERNAL_DOMAIN}.API.")


def kick(server: str) -> str:
    """Return the subject that closes a connection of one NATS server."""
    return KICK.replace("*", server)


def consumer(identifier: str) -> str:
    """Return the name of an external durable consumer. It contains the random id, so it cannot be guessed."""
    return f"events-{identifier}"


def consumer_subjects(identifier: str) -> tuple[str, ...]:
    """Return the subjects that a subscriber must publish to for its own consumer: pull, info, acknowledge."""
    name = consumer(identifier)
    api = [external(subject).replace("*", name) for subject in (CONSUMER_NEXT, CONSUMER_INFO)]
    return (*api, CONSUMER_ACK.replace(">", f"{name}.>"))


def inbox(token_id: str) -> str:
    """Return the prefix of inboxes of clients that connect with this token."""
    return f"_INBOX_{token_id}"

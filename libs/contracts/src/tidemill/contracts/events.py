"""Messages between services: frozen structs, JSON on the wire, decoded with msgspec; unknown keys are ignored.

Unset Raw members are absent, because msgspec cannot decode a union of Raw and None.
"""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from tidemill.contracts.prediction import Status
from tidemill.contracts.subjects import EventName, Kind


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The base class. Members with their default are absent, so that messages stay small and versions can differ."""


class Job(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A hint that a prediction waits in a queue. The row is authoritative; `input` is included if it is small."""

    id: str
    attempt: int
    account: str
    gateway: str
    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    created_at: float  # unix seconds
    deadline: float | None = None  # unix seconds
    webhook: bool = False  # its changes of status must be announced as they happen
    traceparent: str | None = None
    priority: int = 0  # above 0: the rows decide which prediction runs at this hint


class Lifecycle(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A move of a prediction or training. Times are unix seconds; what is absent is null or has its default."""

    id: str
    account: Annotated[str, Meta(description="The account's id.")]
    model: Annotated[str, Meta(description="owner/name")]
    version: str
    status: Status
    attempt: Annotated[int, Meta(description="Counts from 1; a run that was lost with its machine is tried again.")] = 1
    output: Annotated[Raw | UnsetType, Meta(description="As in the HTTP API; absent also when `partial` is set.")] = (
        UNSET
    )
    logs: Annotated[str | None, Meta(description="Absent also when `partial` is set.")] = None
    error: Annotated[str | None, Meta(description="Why it failed, for people.")] = None
    error_code: Annotated[str | None, Meta(description="Why it failed, for programs; docs/errors.md has them.")] = None
    metrics: Raw | UnsetType = UNSET
    boot: Annotated[
        Raw | UnsetType, Meta(description="Seconds by phase of the boot that it waited for; absent when it did not.")
    ] = UNSET
    created_at: float = 0
    started_at: float | None = None
    completed_at: float | None = None
    partial: Annotated[
        bool,
        Meta(
            description="Output and logs are not in the event: there are none yet, or they are large. Ask the HTTP API."
        ),
    ] = False
    traceparent: Annotated[str | None, Meta(description="W3C trace context.")] = None

    def attributes(self, kind: Kind, name: EventName) -> dict[str, str]:
        """Return the headers of the NATS binding of CloudEvents 1.0."""
        return {
            "ce-specversion": "1.0",
            "ce-type": f"tidemill.{kind}.{name}",
            "ce-source": f"/{kind}s",
            "ce-id": f"{self.id}-{self.attempt}-{name}",
            "content-type": "application/json",
        }


class Chunk(Event, frozen=True, kw_only=True, omit_defaults=True, tag_field="t"):
    """One chunk of a prediction's live output. `seq` counts from 0 within an attempt."""

    attempt: int
    seq: int


class OutputChunk(Chunk, frozen=True, kw_only=True, omit_defaults=True, tag="output"):
    """An item of an iterator's output, as JSON."""

    value: msgspec.Raw


class LogsChunk(Chunk, frozen=True, kw_only=True, omit_defaults=True, tag="logs"):
    text: str


class ResetChunk(Chunk, frozen=True, kw_only=True, omit_defaults=True, tag="reset"):
    """A new attempt begins: earlier chunks are void."""


class DoneChunk(Chunk, frozen=True, kw_only=True, omit_defaults=True, tag="done"):
    status: Status
    error: str | None = None


AnyChunk = OutputChunk | LogsChunk | ResetChunk | DoneChunk


class Demand(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A prediction was accepted for a queue that the gateway does not know to be warm."""

    queue: str


class PriorityWaiting(Event, frozen=True, kw_only=True, omit_defaults=True):
    """An account has a prediction with a priority waiting in a queue: for its hints the rows decide which one runs."""

    queue: str
    account: str


class QueueRemoved(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A version was deleted: its queue gets no further predictions."""

    queue: str


class Cancel(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A prediction was ended by another service than its worker; the worker stops the run."""

    id: str
    attempt: int


class WebhookEvent(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Wakes the webhook dispatcher. For `completed` a delivery row exists; the other events are best effort."""

    id: str
    event: str  # start, output, logs, completed


class ProgressState(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Whether a progress event of a prediction is in flight; its `completed` event must not overtake it."""

    on_its_way: bool = False


class PushQueued(Event, frozen=True, kw_only=True, omit_defaults=True):
    """All files of a push are uploaded: a worker may build it."""

    id: str


class SubscriberAdmitted(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A gateway admitted an external subscriber. `key` identifies the connection."""

    account: str
    key: str


class VersionCreated(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A model has a new version: workers with free space may prefetch its files and build its environment."""

    queue: str
    account: str = ""  # the account that pushed it


class WarmQueues(Event, frozen=True, kw_only=True, omit_defaults=True):
    """All queues with a ready instance. The scheduler sends it on every change and every few seconds.

    `booting`: queues without a ready instance but with a booting one. `retrying`: queues whose last boot failed and
    whose next one waits.
    """

    queues: list[str]
    booting: list[str] = []
    retrying: list[str] = []


class WaitingListRequest(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A gateway asks the scheduler which predictions wait in a queue."""

    queue: str


class WaitingList(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Waiting predictions of a queue in the order of acceptance; some may have started or ended meanwhile.

    Predictions accepted after `until` (unix seconds) are missing. `whole`: no others are missing.
    """

    ids: list[str] = []
    until: float = 0
    whole: bool = True


class QueueLoad(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A queue with waiting predictions. `oldest_at` is the accepted_at of the oldest, in unix seconds."""

    queue: str
    waiting: int
    oldest_at: float


class LoadReport(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Open predictions by queue and account. The leading scheduler sends it every second.

    `at` is the database's time. Predictions accepted less than `behind_s` before the message was sent are not counted;
    ended or claimed ones may still be counted for some seconds. With very many queues or accounts, the smallest are
    left out.
    """

    at: float
    behind_s: float
    queues: list[QueueLoad] = []
    open: dict[str, int] = {}  # predictions by account id


class Capacity(Event, frozen=True, kw_only=True, omit_defaults=True):
    """The capacity of a worker."""

    instances: int
    memory_bytes: int
    gpus: int = 0
    gpu_memory_bytes: int = 0


class InstanceState(Event, frozen=True, kw_only=True, omit_defaults=True):
    """One instance as its worker sees it; `state` is booting, ready, draining or failed.

    `boot_s`: duration of its boot with all files in the cache. `run_s`: mean of its last runs. `busy_s`: age of its
    longest present run. 0 if unknown. It holds `gpu_bytes` on each of `gpus` devices.
    """

    id: str
    queue: str
    state: str
    slots: int = 1
    running: int = 0
    idle_s: float = 0.0
    age_s: float = 0.0
    boot_s: float = 0.0
    run_s: float = 0.0
    busy_s: float = 0.0
    gpus: int = 0
    gpu_bytes: int = 0
    error: str | None = None


class QueueState(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A queue as a worker with an instance of it sees it. `waiting`: hints on the stream and in the worker."""

    queue: str
    waiting: int


class Heartbeat(Event, frozen=True, kw_only=True, omit_defaults=True):
    """The state of one worker. `gpu_free_bytes`: unreserved memory of each device."""

    worker: str
    host: str
    capacity: Capacity
    instances: list[InstanceState] = []
    queues: list[QueueState] = []
    draining: bool = False
    gpu_free_bytes: list[int] = []


class BootInstance(Event, frozen=True, kw_only=True, omit_defaults=True, tag_field="t", tag="boot"):
    """Start an instance of a queue. Idempotent by `instance`."""

    instance: str
    queue: str


class StopInstance(Event, frozen=True, kw_only=True, omit_defaults=True, tag_field="t", tag="stop"):
    """Let an instance finish its runs, then stop it. Idempotent by `instance`."""

    instance: str


WorkerCommand = BootInstance | StopInstance


class CommandReply(Event, frozen=True, kw_only=True, omit_defaults=True):
    accepted: bool
    reason: str | None = None

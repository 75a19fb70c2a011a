"""What services tell one another. Frozen facts, JSON on the wire, decoded with msgspec; unknown keys are ignored.

Raw members are absent when unset: msgspec decodes no union of Raw and None.
"""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from tidemill.contracts.prediction import Status
from tidemill.contracts.subjects import EventName, Kind


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The base: absent means default, so that messages stay small and versions can differ."""


class Job(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A hint that a prediction waits in a queue. The row is the truth; `input` is there when it is small."""

    id: str
    attempt: int
    account: str
    gateway: str
    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    created_at: float  # unix seconds
    deadline: float | None = None  # unix seconds
    webhook: bool = False  # its moves must be announced as they happen
    traceparent: str | None = None
    priority: int = 0  # above 0: the rows say what runs at this hint


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
        """The attributes of CloudEvents 1.0 as its binding to NATS puts them into headers."""
        return {
            "ce-specversion": "1.0",
            "ce-type": f"tidemill.{kind}.{name}",
            "ce-source": f"/{kind}s",
            "ce-id": f"{self.id}-{self.attempt}-{name}",
            "content-type": "application/json",
        }


class Chunk(Event, frozen=True, kw_only=True, omit_defaults=True, tag_field="t"):
    """One item of a prediction's live output. `seq` counts from 0 within an attempt."""

    attempt: int
    seq: int


class OutputChunk(Chunk, frozen=True, kw_only=True, omit_defaults=True, tag="output"):
    """An item of an iterator's output, as JSON."""

    value: msgspec.Raw


class LogsChunk(Chunk, frozen=True, kw_only=True, omit_defaults=True, tag="logs"):
    text: str


class ResetChunk(Chunk, frozen=True, kw_only=True, omit_defaults=True, tag="reset"):
    """A new attempt begins: what came before no longer counts."""


class DoneChunk(Chunk, frozen=True, kw_only=True, omit_defaults=True, tag="done"):
    status: Status
    error: str | None = None


AnyChunk = OutputChunk | LogsChunk | ResetChunk | DoneChunk


class Demand(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A prediction was accepted for a queue that the sender does not know to be warm."""

    queue: str


class PriorityWaiting(Event, frozen=True, kw_only=True, omit_defaults=True):
    """An account has a prediction with a priority waiting in a queue: at its hints the rows say what runs."""

    queue: str
    account: str


class QueueRemoved(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A version was deleted: its queue gets no predictions any more."""

    queue: str


class Cancel(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A prediction reached a terminal state from outside its worker, which may stop the run."""

    id: str
    attempt: int


class WebhookEvent(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Wakes the webhook dispatcher. For `completed` a delivery row exists already; the others are best effort."""

    id: str
    event: str  # start, output, logs, completed


class ProgressState(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Whether a progress event of a prediction is on its way: its end must not overtake it."""

    on_its_way: bool = False


class PushQueued(Event, frozen=True, kw_only=True, omit_defaults=True):
    id: str


class SubscriberAdmitted(Event, frozen=True, kw_only=True, omit_defaults=True):
    """An outside subscriber was let in; `key` tells its connection apart."""

    account: str
    key: str


class VersionCreated(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A model has a new version: workers with room may fetch its files and build its environment ahead."""

    queue: str
    account: str = ""  # that pushed it


class WarmQueues(Event, frozen=True, kw_only=True, omit_defaults=True):
    """All queues with at least one ready instance, from the scheduler, whenever it changes and every few seconds.

    `booting`: queues without a ready instance that have one coming; `retrying`: those whose next boot is held off,
    because the last one failed.
    """

    queues: list[str]
    booting: list[str] = []
    retrying: list[str] = []


class WaitingListRequest(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A gateway asks the scheduler who waits in a queue."""

    queue: str


class WaitingList(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Who waits, in the order of acceptance; some may have begun or ended a moment ago.

    Who was accepted after `until`, in unix seconds, is not counted; `whole`: nobody else was left out.
    """

    ids: list[str] = []
    until: float = 0
    whole: bool = True


class QueueLoad(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A queue in which predictions wait; `oldest_at` is the oldest one's accepted_at, in unix seconds."""

    queue: str
    waiting: int
    oldest_at: float


class LoadReport(Event, frozen=True, kw_only=True, omit_defaults=True):
    """What the sweep knows to be open, every second, from the scheduler that leads.

    `at` is the database's time; what was accepted less than `behind_s` before the message was sent is not counted. A
    prediction that has ended or was claimed may be counted for some seconds more. Where there are very many, those
    with the least are left out.
    """

    at: float
    behind_s: float
    queues: list[QueueLoad] = []
    open: dict[str, int] = {}  # predictions by account id


class Capacity(Event, frozen=True, kw_only=True, omit_defaults=True):
    """What a worker offers."""

    instances: int
    memory_bytes: int
    gpus: int = 0
    gpu_memory_bytes: int = 0


class InstanceState(Event, frozen=True, kw_only=True, omit_defaults=True):
    """One instance as its worker sees it; `state` is booting, ready, draining or failed.

    `boot_s`: what its boot took with all files there; `run_s`: the mean of its last runs; `busy_s`: the age of the
    longest of its present ones. 0 where it is not known. It holds `gpu_bytes` on each of `gpus` devices.
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
    """A queue as a worker with an instance of it sees it: `waiting` hints on the stream and in the worker's hands."""

    queue: str
    waiting: int


class Heartbeat(Event, frozen=True, kw_only=True, omit_defaults=True):
    """`gpu_free_bytes`: what nobody has reserved, on each device."""

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
    """Let an instance finish what it runs, then end it. Idempotent by `instance`."""

    instance: str


WorkerCommand = BootInstance | StopInstance


class CommandReply(Event, frozen=True, kw_only=True, omit_defaults=True):
    accepted: bool
    reason: str | None = None

"""What the scheduler can be told. Times in seconds."""

from tidemill.runtime.config import Common


class Config(Common, frozen=True, kw_only=True):
    # An idle instance is stopped after this; long enough for a person who reads an answer and asks again.
    idle_stop_s: float = 300.0
    max_instances_per_queue: int = 4  # one busy model must not take a whole small machine
    scale_factor: float = 1.0  # another instance when more than this many predictions per slot wait for long
    late_after_s: float = 2.0  # waiting for longer than this counts as long; a queue that flows has none of these
    min_resident_s: float = 2.0  # time to be given what it was booted for, before it may make room for another queue
    silent_after_s: float = 3.0  # a worker that missed three heartbeats gets nothing new
    settle_s: float = 1.3  # after a start or an outage of the bus, waiting for workers that have a lease but are silent
    tick_s: float = 1.0  # planning for what no event tells, such as time passing
    command_timeout_s: float = 1.0  # a worker answers a command at once, before it boots anything
    boot_failures_limit: int = 3  # after so many in a row the waiting predictions fail
    # Or when they took so long together: a worker's own limit of one boot, so that one that hangs is not tried thrice.
    boot_failures_limit_s: float = 600.0
    boot_backoff_s: float = 1.0  # before the second try; doubles with every further one
    boot_backoff_limit_s: float = 300.0
    sweep_s: float = 1.0
    # After a takeover or an outage of the database, before workers whose lease has run out are called lost: it may have
    # been away for longer than a lease, and each renews within three seconds or so of its return.
    lease_grace_s: float = 5.0
    republish_after_s: float = 5.0  # a hint that nobody took for so long is taken for lost; doubles every time
    republish_limit_s: float = 60.0
    time_limit_s: float = 1800.0  # Replicate's limit of a run; the worker ends it first, this is for its failure to
    warm_s: float = 2.0  # how often gateways hear which queues are warm, when nothing changes

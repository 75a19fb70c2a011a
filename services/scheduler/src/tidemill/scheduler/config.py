"""Settings of the scheduler. Times are in seconds."""

from tidemill.runtime.config import Common


class Config(Common, frozen=True, kw_only=True):
    # An idle instance is stopped after this; long enough for a person to read an output and send the next request.
    idle_stop_s: float = 300.0
    max_instances_per_queue: int = 4  # one busy model must not take a whole small machine
    scale_factor: float = 1.0  # another instance when more than this many predictions per slot are late
    late_after_s: float = 2.0  # a prediction that waits longer than this is late; a queue that keeps up has none
    min_resident_s: float = (
        2.0  # a younger instance is not stopped for another queue, so that it can take the work it was booted for
    )
    silent_after_s: float = 3.0  # a worker that missed three heartbeats gets no new instances
    # After a start or an outage of the bus: how long planning waits for workers that have a lease but sent no
    # heartbeat.
    settle_s: float = 1.3
    tick_s: float = 1.0  # plans again without an event, because time has passed
    command_timeout_s: float = 1.0  # a worker replies before it boots anything
    boot_failures_limit: int = 3  # after this many failures in a row the waiting predictions fail
    # The same once the failures in a row took this long in total: a worker's own limit of one boot, so that a boot that
    # hangs is not tried three times.
    boot_failures_limit_s: float = 600.0
    boot_backoff_s: float = 1.0  # before the second try; doubles with each further try
    boot_backoff_limit_s: float = 300.0
    sweep_s: float = 1.0
    # After a takeover or an outage of the database: how long to wait before workers with an expired lease are marked as
    # lost. The outage may have been longer than a lease, and workers renew within about three seconds of its end.
    lease_grace_s: float = 5.0
    republish_after_s: float = 5.0  # a hint that no worker took for this long counts as lost; doubles each time
    republish_limit_s: float = 60.0
    time_limit_s: float = (
        1800.0  # Replicate's limit of a run; the worker enforces it first, the scheduler if the worker does not
    )
    warm_s: float = 2.0  # how often gateways are told which queues are warm when nothing changes

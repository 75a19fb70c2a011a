"""Everything that sets the worker in motion, on one screen: messages it listens to, and tasks that run all the time.

Besides these, it pulls the jobs of every queue that it has instances for (`runs/pulls.py`).
"""

from collections.abc import Awaitable, Callable

from tidemill.contracts import events, subjects
from tidemill.runtime.service import Listener, Timer
from tidemill.worker.cache.periodic_eviction import evict_periodically
from tidemill.worker.fleet.heartbeat import send_heartbeats
from tidemill.worker.parts import Handlers, Parts
from tidemill.worker.runs import time_limits
from tidemill.worker.runs.saving import save_progress


def listeners(worker: str, handlers: Handlers) -> tuple[Listener, ...]:
    return (
        Listener(subjects.command(worker), events.WorkerCommand, handlers.commands.on_command, answers=True),
        Listener(subjects.CANCEL, events.Cancel, handlers.cancels.on_cancel),
        Listener(subjects.PUSH_QUEUED, events.PushQueued, handlers.versions.on_push),
        Listener(subjects.QUEUE_REMOVED, events.QueueRemoved, handlers.versions.on_removed),
        Listener(subjects.VERSION_CREATED, events.VersionCreated, handlers.versions.on_version),
        Listener(subjects.PRIORITY_WAITING, events.PriorityWaiting, handlers.priorities.on_urgent),
    )


def on_reconnected(handlers: Handlers) -> tuple[Callable[[], Awaitable[None]], ...]:
    return (handlers.priorities.on_reconnected,)


def timers(parts: Parts) -> tuple[Timer, ...]:
    context, local, runs, instances = parts.context, parts.local_store, parts.runs, parts.instances
    config, manager, monitor = context.config, instances.manager, instances.monitor
    return (
        Timer("platform", context.platform.follow),
        Timer("zygotes", local.zygotes.keep_warm),
        Timer("lease", parts.lease.keep),
        Timer("heartbeat", lambda: send_heartbeats(context.bus, runs.table, parts.resources, manager.changed)),
        Timer("GPUs", instances.gpus.observe),
        Timer("report", parts.reporter.run),
        Timer("pulls", runs.pulls.run),
        Timer("prices", runs.queue_versions.follow_prices),
        Timer("watch", runs.watchdog.watch),
        Timer("time limits", lambda: time_limits.follow(context.database, runs.watchdog.set_account_limits)),
        Timer("memory", monitor.watch_memory),
        Timer("stopped", monitor.watch_stopped),
        Timer("disk", monitor.watch_disk),
        Timer("boots under way", lambda: instances.records.follow(manager.booting)),
        Timer("health", monitor.watch_health),
        Timer("progress", lambda: save_progress(runs.table, runs.writer, config.save_every_s)),
        Timer("live output", runs.live_output.publish),
        Timer("pushes", parts.versions.push_builder.run),
        Timer("prefetch", parts.versions.prefetcher.run),
        Timer(
            "eviction",
            lambda: evict_periodically(
                local.bundles, local.environments, manager.environments_in_use, config.cache_limit_bytes
            ),
        ),
    )

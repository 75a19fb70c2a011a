"""All triggers of the storage janitor: timers only, no bus subjects."""

from typing import Final

from tidemill.runtime.service import Timer
from tidemill.storage_janitor.handlers import event_shares, orphans, predictions, run_counts, uploads, versions
from tidemill.storage_janitor.handlers.steps import Step, repeat
from tidemill.storage_janitor.step_context import StepContext


def retention() -> tuple[Step, ...]:
    short = predictions.ShortRetention()
    return (
        Step("predictions", predictions.scan),
        Step("short_retention", short.scan),
        Step("put_off", predictions.remove_deferred),
        Step("events", short.remove_events),
        Step("keys", predictions.expired_keys),
        Step("versions", versions.removed_versions),
        Step("run_counts", run_counts.count_runs),
        Step("files", uploads.expired_files),
        Step("pushes", uploads.abandoned_pushes),
    )


ORPHANS: Final = (
    Step("outputs", orphans.outputs),
    Step("uploads", orphans.uploads),
    Step("parts", orphans.parts_of_objects),
    Step("blob_rows", orphans.blob_rows),
    Step("blob_objects", orphans.blob_objects),
)


EVENTS: Final = (Step("event_shares", event_shares.trim),)


def timers(context: StepContext) -> tuple[Timer, ...]:
    return (
        Timer("lead", context.leader.keep),
        Timer("retention", repeat(context, context.config.every_s, retention())),
        Timer("event shares", repeat(context, context.config.events_every_s, EVENTS)),
        Timer("orphans", repeat(context, context.config.orphans_every_s, ORPHANS)),
    )

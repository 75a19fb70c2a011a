"""Everything that sets the storage janitor in motion: the clock. It hears no subject."""

from typing import Final

from tidemill.runtime.service import Timer
from tidemill.storage_janitor.handlers import counts, event_shares, orphans, predictions, uploads, versions
from tidemill.storage_janitor.handlers.parts import Parts
from tidemill.storage_janitor.handlers.rounds import Step, repeated


def retention() -> tuple[Step, ...]:
    short = predictions.ShortRetention()
    return (
        Step("predictions", predictions.scan),
        Step("short_retention", short.scan),
        Step("put_off", predictions.put_off),
        Step("events", short.forget_events),
        Step("keys", predictions.expired_keys),
        Step("versions", versions.removed_versions),
        Step("run_counts", counts.runs),
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


def timers(parts: Parts) -> tuple[Timer, ...]:
    return (
        Timer("lead", parts.leader.keep),
        Timer("retention", repeated(parts, parts.config.every_s, retention())),
        Timer("event shares", repeated(parts, parts.config.events_every_s, EVENTS)),
        Timer("orphans", repeated(parts, parts.config.orphans_every_s, ORPHANS)),
    )

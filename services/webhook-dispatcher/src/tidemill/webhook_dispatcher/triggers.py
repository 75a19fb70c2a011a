"""Everything that sets the dispatcher in motion."""

from tidemill.contracts import subjects
from tidemill.contracts.events import WebhookEvent
from tidemill.runtime.leader import Leader
from tidemill.runtime.service import Listener, Timer
from tidemill.webhook_dispatcher.handlers.deliveries import Deliveries
from tidemill.webhook_dispatcher.handlers.progress import Progress
from tidemill.webhook_dispatcher.handlers.upkeep import Upkeep


def listeners(deliveries: Deliveries, progress: Progress) -> tuple[Listener, ...]:
    async def hear(event: WebhookEvent) -> None:
        if event.event == "completed":
            progress.ended(event.id)
            deliveries.wake.set()
        else:
            progress.note(event.id, event.event)

    return (Listener(subjects.WEBHOOK, WebhookEvent, hear),)


def timers(deliveries: Deliveries, upkeep: Upkeep, leader: Leader) -> tuple[Timer, ...]:
    return (
        Timer("deliveries", deliveries.run),  # every look_every_s, and when woken
        Timer("upkeep", upkeep.run),  # every upkeep_every_s, where it leads
        Timer("lead", leader.keep),  # for progress and upkeep: deliveries are shared by their leases
    )

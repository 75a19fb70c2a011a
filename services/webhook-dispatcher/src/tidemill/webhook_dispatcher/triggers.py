"""All triggers of the webhook dispatcher: bus subjects and timers."""

from tidemill.contracts import subjects
from tidemill.contracts.events import WebhookEvent
from tidemill.runtime.leader import Leader
from tidemill.runtime.service import Listener, Timer
from tidemill.webhook_dispatcher.handlers.deliveries import DeliveryLoop
from tidemill.webhook_dispatcher.handlers.progress import ProgressSender
from tidemill.webhook_dispatcher.handlers.purging import Purger


def listeners(deliveries: DeliveryLoop, progress: ProgressSender) -> tuple[Listener, ...]:
    async def on_event(event: WebhookEvent) -> None:
        if event.event == "completed":
            progress.on_completed(event.id)
            deliveries.wake.set()
        else:
            progress.on_progress(event.id, event.event)

    return (Listener(subjects.WEBHOOK, WebhookEvent, on_event),)


def timers(deliveries: DeliveryLoop, purger: Purger, leader: Leader) -> tuple[Timer, ...]:
    return (
        Timer("deliveries", deliveries.run),  # every look_every_s, and when woken
        Timer("upkeep", purger.run),  # every upkeep_every_s, in the leader
        Timer("lead", leader.keep),  # for progress and purging; deliveries are shared by leases
    )

"""The listeners to accounts' webhooks at this gateway, and their subscriptions on the bus.

Events lost by the bus are not shown, except ends: a listener that reconnects gets those from the table of deliveries.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import msgspec
import nats
from aiohttp import web
from nats.aio.msg import Msg

from tidemill.contracts import subjects
from tidemill.contracts.errors import conflict, unavailable
from tidemill.contracts.events import Lifecycle, WebhookEvent
from tidemill.contracts.prediction import TERMINAL
from tidemill.gateway.live.mirror import Mirror
from tidemill.runtime.bus import Bus

ACCOUNT_LISTENERS_LIMIT: Final = 8  # enough for the developers of one account; each receives all its events
LISTENERS_LIMIT: Final = 500  # each holds a connection and three subscriptions
decode_lifecycle: Final = msgspec.json.Decoder(Lifecycle).decode
decode_hint: Final = msgspec.json.Decoder(WebhookEvent).decode


class WebhookListener:
    """The events due to one connection; `closed` when the gateway stops."""

    def __init__(self) -> None:
        self.mirror = Mirror()
        self.closed = False
        self.changed = asyncio.Event()

    async def on_lifecycle(self, message: Msg) -> None:
        with suppress(msgspec.DecodeError):
            event = decode_lifecycle(message.data)
            self._note(event.id, "completed" if event.status in TERMINAL else "start")

    async def on_hint(self, message: Msg) -> None:
        """Note output and logs of followed predictions only: hints carry no account."""
        with suppress(msgspec.DecodeError):
            hint = decode_hint(message.data)
            if hint.event in {"output", "logs"} and self.mirror.follows(hint.id):
                self._note(hint.id, hint.event)

    def _note(self, prediction_id: str, event: str) -> None:
        self.mirror.note(prediction_id, event)
        self.changed.set()

    def close(self) -> None:
        self.closed = True
        self.changed.set()


class WebhookListeners:
    """All listeners of one gateway."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._accounts: Counter[str] = Counter()
        self._open: set[WebhookListener] = set()
        self._closing = False

    @asynccontextmanager
    async def listening(self, account_id: str) -> AsyncIterator[WebhookListener]:
        """Yield a new listener. Raise 409 if the account has too many; 503 if the gateway has or the bus is down."""
        if self._accounts[account_id] >= ACCOUNT_LISTENERS_LIMIT:
            raise conflict(f"This account has {ACCOUNT_LISTENERS_LIMIT} listeners already.")
        if self._closing or len(self._open) >= LISTENERS_LIMIT:
            raise unavailable("No more listeners here at the moment; please retry.", 5)
        listener, subscriptions = WebhookListener(), list[Any]()
        self._accounts[account_id] += 1
        self._open.add(listener)
        try:
            await self._subscribe(account_id, listener, subscriptions)
            yield listener
        finally:
            self._open.discard(listener)
            self._accounts[account_id] -= 1
            if not self._accounts[account_id]:
                del self._accounts[account_id]
            for subscription in subscriptions:
                with suppress(nats.errors.Error):
                    await subscription.unsubscribe()

    async def _subscribe(self, account_id: str, listener: WebhookListener, subscriptions: list[Any]) -> None:
        try:
            for kind in subjects.KINDS:
                subject = subjects.events_of(account_id, kind)
                subscriptions.append(await self._bus.listen_raw(subject, listener.on_lifecycle))
            subscriptions.append(await self._bus.listen_raw(subjects.WEBHOOK, listener.on_hint))
        except nats.errors.Error:
            raise unavailable("Events are away for a moment; please retry.", 1) from None

    def close(self) -> None:
        """Close all listeners: their clients reconnect to another gateway."""
        self._closing = True
        for listener in self._open:
            listener.close()


LISTENERS: Final = web.AppKey("listeners", WebhookListeners)


def install(app: web.Application, bus: Bus) -> None:
    """Add the listeners to the application; close them on shutdown, before the server waits for open requests."""
    listeners = app[LISTENERS] = WebhookListeners(bus)

    async def close_listeners(_app: web.Application) -> None:
        listeners.close()

    app.on_shutdown.append(close_listeners)

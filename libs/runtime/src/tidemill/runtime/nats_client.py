"""nats-py's client with a shortcut for hot subjects: their messages are handed over while they are read.

The usual way of a message to its callback costs a Msg, its parsed headers, a queue and a turn of another task.
It owns no subject and decodes nothing; what a receiver raises goes to the error callback, never to the reading.
"""

from collections.abc import Callable
from typing import Any

from nats.aio.client import Client
from nats.aio.subscription import Subscription

# The subject, the reply subject and the payload. False: this message shall go the usual way.
Receive = Callable[[bytes, bytes, bytes], bool]


class DirectClient(Client):
    def __init__(self) -> None:
        super().__init__()
        self._receivers: dict[int, Receive] = {}

    async def subscribe_direct(self, subject: str, receive: Receive | None, **usual: Any) -> Subscription:
        """As `subscribe`, whose arguments are `usual`; `receive`, if given, sees each message first."""
        if receive is not None:
            self._receivers[self._sid + 1] = receive  # before the server can send anything
        return await self.subscribe(subject, **usual)

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._receivers.pop(sid, None)
        super()._remove_sub(sid, max_msgs)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        receive = self._receivers.get(sid)
        try:
            if receive is not None and receive(subject, reply, data):
                return
        except Exception as error:  # noqa: BLE001 - the boundary of the bus: an error must not end the reading
            await self._error_cb(error)
            return
        await super()._process_msg(sid, subject, reply, data, headers)

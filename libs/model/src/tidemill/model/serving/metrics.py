"""Sends each metric to the worker as soon as the model records it."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from tidemill.model.logs.owners import LogOwner
from tidemill.model.wire import protocol
from tidemill.model.wire.channel import Channel


def metric_sink(
    channel: Channel, prediction: str, owner: LogOwner, shield: AbstractContextManager[None]
) -> Callable[[str, Any, str], None]:
    """Return the function that sends a metric. It drops what a thread records after the owner has ended."""

    def sink(key: str, value: Any, mode: str) -> None:
        if owner.ended:
            return
        frame = {"t": "metric", "id": prediction, "key": key, "value": value, "mode": mode}
        if isinstance(value, str | list | dict) and len(protocol.encode(frame)) > protocol.METRIC_FRAME_LIMIT_BYTES:
            sys.stderr.write(f"[the metric {key} is dropped: it is over {protocol.METRIC_FRAME_LIMIT_BYTES} bytes]\n")
            return
        with shield:
            channel.put(frame)
            channel.flush()

    return sink

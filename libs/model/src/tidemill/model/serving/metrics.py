"""Carries what a model records to the worker, as it records it."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from tidemill.model.logs.owners import Owner
from tidemill.model.wire import protocol
from tidemill.model.wire.channel import Channel


def metric_sink(
    channel: Channel, prediction: str, owner: Owner, shield: AbstractContextManager[None]
) -> Callable[[str, Any, str], None]:
    """Until the owner is over: what a thread still records then is nobody's."""

    def sink(key: str, value: Any, mode: str) -> None:
        if owner.over:
            return
        frame = {"t": "metric", "id": prediction, "key": key, "value": value, "mode": mode}
        if isinstance(value, str | list | dict) and len(protocol.encode(frame)) > protocol.METRIC_FRAME_LIMIT_BYTES:
            sys.stderr.write(f"[the metric {key} is dropped: it is over {protocol.METRIC_FRAME_LIMIT_BYTES} bytes]\n")
            return
        with shield:
            channel.put(frame)
            channel.flush()

    return sink

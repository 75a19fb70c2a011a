"""Carries what a model records to the worker, as it records it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from tidemill.model.channel import Channel


def metric_sink(
    channel: Channel, prediction: str, shield: AbstractContextManager[None]
) -> Callable[[str, Any, str], None]:
    def sink(key: str, value: Any, mode: str) -> None:
        with shield:
            channel.put({"t": "metric", "id": prediction, "key": key, "value": value, "mode": mode})
            channel.flush()

    return sink

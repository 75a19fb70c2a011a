"""Services that run in the process of the tests."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import msgspec

from tidemill.runtime.config import Common
from tidemill.runtime.service import Service
from tidemill.testing.running import until

Config = TypeVar("Config", bound=Common)


class Services(Generic[Config]):
    """Any number of one kind, each with its own changes to the config."""

    def __init__(self, build: Callable[[Config], Awaitable[Service]], config: Config) -> None:
        self._build = build
        self._config = config
        self._running: dict[Service, asyncio.Task[int]] = {}

    async def start(self, **changes: Any) -> Service:
        """Returns when it is ready, or has ended."""
        service = await self._build(msgspec.structs.replace(self._config, **changes))
        running = self._running[service] = asyncio.create_task(service.run(), name=f"run {service.name}")
        await until(f"the {service.name} to be ready", lambda: running.done() or not service.not_ready())
        return service

    async def stop(self, service: Service) -> None:
        service.stopping.set()
        assert await self._running.pop(service) == 0

    async def close(self) -> None:
        """Stops those that are left."""
        for service in list(self._running):
            await self.stop(service)

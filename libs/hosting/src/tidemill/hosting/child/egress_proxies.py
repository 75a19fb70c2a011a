"""The proxies of instances that may reach the internet: one for each, on the socket that its child handed over.

It owns who may be reached: the public internet but for what is the platform's own. Logged are host and port of each
connection, never more.
"""

import asyncio
import os
import socket
from typing import Final, NamedTuple

from prometheus_client import Counter

from tidemill.runtime.platform import Platform
from tidemill.runtime.tasks import Tasks
from tidemill.runtime.telemetry import log
from tidemill.security.egress.policy import AllowList, EgressPolicy
from tidemill.security.egress.proxy import EgressProxy, HostRules
from tidemill.security.egress.resolver import IsolatedResolver

CONNECTIONS: Final = Counter("tidemill_worker_egress_connections_total", "What models asked the proxy for", ["outcome"])


class _RunningProxy(NamedTuple):
    task: asyncio.Task[None]
    listener: socket.socket
    resolver: IsolatedResolver


class EgressProxies:
    """Use from one event loop."""

    def __init__(self, platform: Platform, allow: AllowList) -> None:
        self._platform = platform
        self._allow = allow
        self._open: dict[str, _RunningProxy] = {}
        self._serving = Tasks()

    def open(self, instance: str, hosts: tuple[str, ...] | None, descriptor: int) -> None:
        """Takes the descriptor over. Raises ValueError when it is none that a child of ours sends."""
        listener = _listener(descriptor)
        if instance in self._open:
            listener.close()
            raise ValueError("it sent a second listening socket")
        policy = EgressPolicy(allow=self._allow, deny=self._platform.networks, reserved=self._platform.reserved)

        def tell(host: str, port: int, outcome: str) -> None:
            CONNECTIONS.labels(outcome).inc()
            log().info("model connects", action="egress", instance=instance, host=host, port=port, outcome=outcome)

        resolver = IsolatedResolver()  # each its own: names that take for ever are its own trouble alone
        proxy = EgressProxy(policy, resolver, HostRules(hosts, self._platform.names), tell)
        task = self._serving.start(_serve(proxy, listener), f"way out of {instance}")
        self._open[instance] = _RunningProxy(task, listener, resolver)

    async def close(self, instance: str) -> None:
        if instance in self._open:
            way_out = self._open.pop(instance)
            way_out.task.cancel()
            await asyncio.gather(way_out.task, return_exceptions=True)
            way_out.listener.close()  # a task that had not begun never took it over
            await way_out.resolver.close()

    async def close_all(self) -> None:
        for instance in list(self._open):
            await self.close(instance)


def _listener(descriptor: int) -> socket.socket:
    try:
        found = socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        raise ValueError("it sent something else than a socket") from None
    if found.family != socket.AF_INET or not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        found.close()
        raise ValueError("it sent a socket that does not listen")
    return found


async def _serve(proxy: EgressProxy, listener: socket.socket) -> None:
    async with proxy.serving(listener):
        await asyncio.Event().wait()

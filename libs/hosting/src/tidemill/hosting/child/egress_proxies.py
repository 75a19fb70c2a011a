"""One egress proxy for each instance that may reach the internet, on the socket that its child handed over.

It decides what is reachable: the public internet without the platform's own networks. It logs host and port of each
connection, and nothing else of it.
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
    """The running proxies by instance. Use from one event loop."""

    def __init__(self, platform: Platform, allow: AllowList) -> None:
        self._platform = platform
        self._allow = allow
        self._open: dict[str, _RunningProxy] = {}
        self._serving = Tasks()

    def open(self, instance: str, hosts: tuple[str, ...] | None, descriptor: int) -> None:
        """Start a proxy on `descriptor` and take ownership of it. Raise ValueError if it is no listening socket."""
        listener = _listener(descriptor)
        if instance in self._open:
            listener.close()
            raise ValueError("it sent a second listening socket")
        policy = EgressPolicy(allow=self._allow, deny=self._platform.networks, reserved=self._platform.reserved)

        def report(host: str, port: int, outcome: str) -> None:
            CONNECTIONS.labels(outcome).inc()
            log().info("model connects", action="egress", instance=instance, host=host, port=port, outcome=outcome)

        resolver = IsolatedResolver()  # one each: slow DNS names delay only the instance that asks for them
        proxy = EgressProxy(policy, resolver, HostRules(hosts, self._platform.names), report)
        task = self._serving.start(_serve(proxy, listener), f"way out of {instance}")
        self._open[instance] = _RunningProxy(task, listener, resolver)

    async def close(self, instance: str) -> None:
        if instance in self._open:
            running = self._open.pop(instance)
            running.task.cancel()
            await asyncio.gather(running.task, return_exceptions=True)
            running.listener.close()  # a task that has not started does not close it
            await running.resolver.close()

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

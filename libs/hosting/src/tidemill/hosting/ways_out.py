"""The proxies of instances that may reach the internet: one for each, on the socket that its child handed over.

It owns who may be reached: the public internet but for what is the platform's own. Logged are host and port of each
connection, never more.
"""

import asyncio
import os
import socket
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from prometheus_client import Counter

from tidemill.runtime.tasks import Tasks
from tidemill.runtime.telemetry import log
from tidemill.security.addresses import Network, parse_networks
from tidemill.security.egress_policy import Allow, EgressPolicy
from tidemill.security.egress_proxy import EgressProxy, Hosts
from tidemill.security.egress_resolver import IsolatedResolver

LOOK_UP_WITHIN_S: Final = 5.0
CONNECTIONS: Final = Counter("tidemill_worker_egress_connections_total", "What models asked the proxy for", ["outcome"])


class Platform:
    """The platform's own servers: names that no model may ask for, addresses that none may reach."""

    def __init__(self, urls: Iterable[str]) -> None:
        each = [url for one in urls for url in one.split(",")]
        found = {urlsplit(url if "//" in url else f"//{url}").hostname for url in each}
        self.names = frozenset({name.lower() for name in found if name} | {"localhost", socket.gethostname().lower()})
        self.networks: tuple[Network, ...] = ()

    async def look_up(self) -> None:
        """Also what of this machine's own addresses is public. A name without an address needs no guard."""
        found = await asyncio.gather(*(self._addresses(name) for name in sorted(self.names)))
        self.networks = parse_networks(",".join(sorted({address for each in found for address in each})))

    async def _addresses(self, name: str) -> set[str]:
        try:
            async with asyncio.timeout(LOOK_UP_WITHIN_S):
                infos = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError):
            return set()
        return {str(info[4][0]).partition("%")[0] for info in infos}


class _WayOut(NamedTuple):
    task: asyncio.Task[None]
    listener: socket.socket
    resolver: IsolatedResolver


class WaysOut:
    """Use from one event loop."""

    def __init__(self, platform: Platform, allow: Allow) -> None:
        self._platform = platform
        self._allow = allow
        self._open: dict[str, _WayOut] = {}
        self._serving = Tasks()

    def open(self, instance: str, hosts: tuple[str, ...] | None, descriptor: int) -> None:
        """Takes the descriptor over. Raises ValueError when it is none that a child of ours sends."""
        listener = _listener(descriptor)
        if instance in self._open:
            listener.close()
            raise ValueError("it sent a second listening socket")
        policy = EgressPolicy(allow=self._allow, deny=self._platform.networks)

        def tell(host: str, port: int, outcome: str) -> None:
            CONNECTIONS.labels(outcome).inc()
            log().info("model connects", action="egress", instance=instance, host=host, port=port, outcome=outcome)

        resolver = IsolatedResolver()  # each its own: names that take for ever are its own trouble alone
        proxy = EgressProxy(policy, resolver, Hosts(hosts, self._platform.names), tell)
        task = self._serving.start(_serve(proxy, listener), f"way out of {instance}")
        self._open[instance] = _WayOut(task, listener, resolver)

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

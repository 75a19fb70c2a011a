"""The addresses and ports that the services of an installation listen on. Users' URLs must not lead there.

Each service writes its own to the database again and again; a row counts for LISTENER_LIFE_S after the last time.
"""

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

import psutil

from tidemill.runtime.db import Database, Row, columns, retry_transient
from tidemill.runtime.service import Service
from tidemill.security.egress.addresses import Address
from tidemill.security.egress.reserved_endpoints import SocketAddress

PUBLISH_EVERY_S: Final = 60.0
LISTENER_LIFE_S: Final = 900.0  # longer than outages of the database; then another program may have taken the port

PUBLISH: Final = """
INSERT INTO listener (service, address, port)
SELECT $1, address, port FROM unnest($2::text[], $3::int[]) AS it (address, port)
ON CONFLICT (service, address, port) DO UPDATE SET seen_at = now()"""
DELETE_OLD: Final = "DELETE FROM listener WHERE seen_at < now() - make_interval(secs => $1)"
SELECT: Final = "SELECT address, port FROM listener WHERE seen_at > now() - make_interval(secs => $1)"


def addresses_here() -> frozenset[Address]:
    """Return the addresses of this machine's interfaces."""
    families = {socket.AF_INET, socket.AF_INET6}
    found = (each for addresses in psutil.net_if_addrs().values() for each in addresses if each.family in families)
    return frozenset(ip_address(each.address.partition("%")[0]) for each in found)


async def record_endpoints(database: Database, service: str, endpoints: Iterable[SocketAddress]) -> None:
    """Write the service's endpoints down. One at the wildcard address counts for each address of this machine."""
    rows = [(service, str(address), port) for each in set(endpoints) for address, port in _reachable(each)]
    _, addresses, ports = columns(rows, 3)
    await database.execute(PUBLISH, service, addresses, ports)
    await database.execute(DELETE_OLD, LISTENER_LIFE_S)


def publish_endpoints(service: Service, database: Database) -> None:
    """Add a task to the service that writes its endpoints to the database every PUBLISH_EVERY_S."""

    async def keep_publishing() -> None:
        while True:
            await retry_transient("listeners", lambda: record_endpoints(database, service.name, service.listens))
            await asyncio.sleep(PUBLISH_EVERY_S)

    service.task("own listeners", keep_publishing)


async def load_endpoints(database: Database) -> list[SocketAddress]:
    """Return the endpoints of all services, as they were last written. Raise one of db.TRANSIENT_ERRORS."""
    return [_endpoint(row) for row in await database.fetch(SELECT, LISTENER_LIFE_S)]


def _endpoint(row: Row) -> SocketAddress:
    return ip_address(row["address"]), row["port"]


def _reachable(endpoint: SocketAddress) -> set[SocketAddress]:
    address, port = endpoint
    return {(each, port) for each in addresses_here()} if address.is_unspecified else {endpoint}

"""What the services of an installation listen on: each tells the database, and whoever fetches URLs of users asks it.

A row is believed for LISTENER_LIFE_S after its service last told it.
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

TELL_EVERY_S: Final = 60.0
LISTENER_LIFE_S: Final = 900.0  # longer than a database is away; a port that another program takes after it is free

TELL: Final = """
INSERT INTO listener (service, address, port)
SELECT $1, address, port FROM unnest($2::text[], $3::int[]) AS it (address, port)
ON CONFLICT (service, address, port) DO UPDATE SET seen_at = now()"""
FORGET: Final = "DELETE FROM listener WHERE seen_at < now() - make_interval(secs => $1)"
KNOWN: Final = "SELECT address, port FROM listener WHERE seen_at > now() - make_interval(secs => $1)"


def addresses_here() -> frozenset[Address]:
    """Of this machine's interfaces."""
    families = {socket.AF_INET, socket.AF_INET6}
    found = (each for addresses in psutil.net_if_addrs().values() for each in addresses if each.family in families)
    return frozenset(ip_address(each.address.partition("%")[0]) for each in found)


async def tell(database: Database, service: str, endpoints: Iterable[SocketAddress]) -> None:
    """A listener at the wildcard is to be reached at each address of its machine."""
    rows = [(service, str(address), port) for each in set(endpoints) for address, port in _reachable(each)]
    _, addresses, ports = columns(rows, 3)
    await database.execute(TELL, service, addresses, ports)
    await database.execute(FORGET, LISTENER_LIFE_S)


def publish_endpoints(service: Service, database: Database) -> None:
    """Adds the task that tells what this service listens on."""

    async def keep_telling() -> None:
        while True:
            await retry_transient("listeners", lambda: tell(database, service.name, service.listens))
            await asyncio.sleep(TELL_EVERY_S)

    service.task("own listeners", keep_telling)


async def known(database: Database) -> list[SocketAddress]:
    return [_endpoint(row) for row in await database.fetch(KNOWN, LISTENER_LIFE_S)]


def _endpoint(row: Row) -> SocketAddress:
    return ip_address(row["address"]), row["port"]


def _reachable(endpoint: SocketAddress) -> set[SocketAddress]:
    address, port = endpoint
    return {(each, port) for each in addresses_here()} if address.is_unspecified else {endpoint}

"""DNS look-ups of users' host names, on threads of their own.

aiohttp's resolver shares the event loop's default threads: a few hosts with dead name servers would block every other
use of them. Must never check an address; the socket factory does.
"""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from aiohttp.abc import AbstractResolver, ResolveResult

DNS_THREADS = 32  # concurrent look-ups; a thread that waits for a dead name server costs some kB for up to 30 s
DNS_TIMEOUT_S = 5.0  # the C library tries for up to 30 s, which is longer than a delivery may take
MAX_ADDRESSES = 8  # each is tried in turn: a name with hundreds of addresses must not be usable for scanning


class IsolatedResolver(AbstractResolver):
    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(DNS_THREADS, thread_name_prefix="egress-dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
        async with asyncio.timeout(DNS_TIMEOUT_S):
            found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return [_result(host, port, info[0], str(info[4][0])) for info in found[:MAX_ADDRESSES]]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _result(host: str, port: int, family: int, address: str) -> ResolveResult:
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=numeric)

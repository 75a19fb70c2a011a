"""Free loopback ports, reserved against other stacks on this machine from their choice on, before a server binds them.

They lie below the kernel's ephemeral range, so that an outgoing connection never takes one.
"""

import errno
import random
import socket
import sys
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Sequence

LOOPBACK = "127.0.0.1"
# Linux gives outgoing connections ports from 32768 up: a stored port below that can be had again after a restart.
USUAL_PORTS = range(10_240, 32_001)
LAST_PORT = 65_535
# A server that was just killed may hold its port until the kernel has cleaned up.
RELEASE_WAIT_S = 1.0
RELEASE_POLL_S = 0.02
ATTEMPTS = 200
# Connections that may wait while nobody accepts; Linux limits it to net.core.somaxconn.
BACKLOG = 4096
CAN_RESERVE = sys.platform == "linux"


class NoFreePortError(OSError):
    """No free loopback port was found."""


class PortReservations:
    """Ports that no other PortReservations on the machine chooses, as long as this object and its process live.

    Each is held by a Unix socket in Linux's abstract namespace, bound to a name made of the port: a second process that
    binds the name is refused, of whatever user, and the kernel frees it however the process ends. Such names belong to
    a network namespace, as ports do. Other systems have no such names: there a port is only tested.
    """

    def __init__(self, purpose: str = "stack") -> None:
        """Reservations for different purposes do not conflict."""
        self._purpose = purpose
        self._held: dict[int, socket.socket] = {}
        weakref.finalize(self, _close, self._held)

    def take(self, port: int) -> bool:
        """Reserve this port, waiting shortly for its release. Return whether it is reserved and free."""
        if _becomes_true(lambda: self._take(port)):
            return True
        self._release(port)
        return False

    def choose(self, avoid: Collection[int] = (), among: Sequence[int] = USUAL_PORTS) -> int:
        tried = random.sample(among, min(ATTEMPTS, len(among)))
        found = self._take_first(port for port in tried if port not in avoid)
        if found is None:
            raise NoFreePortError(f"none of {len(tried)} ports tried from {among[0]} to {among[-1]} is free")
        return found

    def first_free_from(self, port: int) -> int:
        """Reserve and return the port, or the first free one above it. Raise NoFreePortError."""
        last = min(port + ATTEMPTS - 1, LAST_PORT)
        found = self._take_first(range(port, last + 1))
        if found is None:
            raise NoFreePortError(f"all ports from {port} to {last} are taken")
        return found

    def _take_first(self, candidates: Iterable[int]) -> int | None:
        for port in candidates:
            if port in self._held:
                continue
            if self._take(port):
                return port
            self._release(port)
        return None

    def _take(self, port: int) -> bool:
        # Reserved before it is tested: two stacks that tested first would both find it free.
        return (port in self._held or self._reserve(port)) and is_free(port)

    def _reserve(self, port: int) -> bool:
        if not CAN_RESERVE:
            return True
        holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            holder.bind(f"\0tidemill/{self._purpose}/port/{port}")
        except OSError as error:
            holder.close()
            if error.errno != errno.EADDRINUSE:
                raise
            return False
        self._held[port] = holder
        return True

    def _release(self, port: int) -> None:
        holder = self._held.pop(port, None)
        if holder is not None:
            holder.close()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, from which child processes accept. Raise OSError."""
    family, _, _, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
        0
    ]
    listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    listener.settimeout(0)  # several processes may wait for the same connection
    return listener


def is_free(port: int) -> bool:
    """Return whether nobody listens on the port. Connections that linger after a server's end do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def becomes_free(port: int) -> bool:
    return _becomes_true(lambda: is_free(port))


def _becomes_true(check: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + RELEASE_WAIT_S
    while not check():
        if time.monotonic() >= deadline:
            return False
        time.sleep(RELEASE_POLL_S)
    return True


def _close(held: dict[int, socket.socket]) -> None:
    for holder in held.values():
        holder.close()

"""Free loopback ports below the kernel's ephemeral range, so that an outgoing connection never takes one of ours."""

import random
import socket
import time
from collections.abc import Collection

LOOPBACK = "127.0.0.1"
LOWEST_PORT = 10_240
# Linux gives outgoing connections ports from 32768 up: a remembered port below that is ours again after a restart.
HIGHEST_PORT = 32_000
# A server that was killed a moment ago may hold its port until the kernel has torn it down.
RELEASE_WAIT_S = 1.0
RELEASE_POLL_S = 0.02
ATTEMPTS = 200


class NoFreePortError(OSError):
    """No free loopback port was found."""


def is_free(port: int) -> bool:
    """Whether nobody listens there now; connections that linger after a server's death do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def becomes_free(port: int, wait_s: float = RELEASE_WAIT_S) -> bool:
    deadline = time.monotonic() + wait_s
    while not is_free(port):
        if time.monotonic() >= deadline:
            return False
        time.sleep(RELEASE_POLL_S)
    return True


def choose(avoid: Collection[int] = ()) -> int:
    for _ in range(ATTEMPTS):
        candidate = random.randint(LOWEST_PORT, HIGHEST_PORT)
        if candidate not in avoid and is_free(candidate):
            return candidate
    raise NoFreePortError(f"none of {ATTEMPTS} ports tried between {LOWEST_PORT} and {HIGHEST_PORT} is free")


def first_free_from(port: int) -> int:
    """The port itself, or the next one above it that is free."""
    for candidate in range(port, port + ATTEMPTS):
        if is_free(candidate):
            return candidate
    raise NoFreePortError(f"all ports from {port} to {port + ATTEMPTS - 1} are taken")

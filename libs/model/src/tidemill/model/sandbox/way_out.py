"""The one way out of a child's network namespace: a socket that listens on its loopback interface.

The worker accepts on this socket: a socket belongs to the namespace in which it was made, whichever process holds it.
The worker decides where a connection may lead. Nothing here runs after the model's first line.
"""

import fcntl
import socket
import struct
from typing import Final

HOST: Final = "127.0.0.1"
PORT: Final = 3128  # the usual port of proxies; nothing else listens in the namespace
_BACKLOG: Final = 128
_GET_FLAGS: Final = 0x8913  # SIOCGIFFLAGS
_SET_FLAGS: Final = 0x8914  # SIOCSIFFLAGS
_UP: Final = 0x1  # IFF_UP
_REQUEST: Final = struct.Struct("16sh22x")  # struct ifreq with its flags


def open_listener() -> socket.socket:
    """Return the listening socket. Call it in a network namespace that this process has just made. Raise OSError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        _bring_up(listener.fileno(), b"lo")
        listener.bind((HOST, PORT))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _bring_up(descriptor: int, interface: bytes) -> None:
    _, flags = _REQUEST.unpack(fcntl.ioctl(descriptor, _GET_FLAGS, _REQUEST.pack(interface, 0)))
    fcntl.ioctl(descriptor, _SET_FLAGS, _REQUEST.pack(interface, flags | _UP))


def proxy_variables() -> dict[str, str]:
    """Return the environment variables of the proxy, in upper and lower case: libraries read either."""
    proxy, near = f"http://{HOST}:{PORT}", f"localhost,{HOST},::1"
    upper = {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": near}
    return {**upper, **{name.lower(): value for name, value in upper.items()}}

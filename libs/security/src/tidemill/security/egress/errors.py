"""Errors of requests to users' URLs, with messages that can be shown to the user.

The messages never contain an address, a resolved name or an exception's text, which would describe our network.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp


class EgressError(Exception):
    """A request to a user's URL failed."""


class EgressDenied(EgressError):  # noqa: N818 -- named after the situation
    """The policy forbids the URL, or an address of its host. A retry does not help."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The URL is not allowed: {reason}.")
        self.reason = reason


class EgressTooLarge(EgressError):  # noqa: N818 -- as above
    """The body is larger than the caller allows."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The file is larger than {limit_bytes} bytes.")
        self.limit_bytes = limit_bytes


class EgressTimeout(EgressError):  # noqa: N818 -- as above
    """The host did not resolve, accept or answer in time."""

    def __init__(self) -> None:
        super().__init__("The request timed out.")


class EgressFailed(EgressError):  # noqa: N818 -- as above
    """The network or the server failed. `status` is the response status, if there was one; `retry_after_s` is from its
    Retry-After header.
    """

    def __init__(self, reason: str, *, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(f"The request failed: {reason}.")
        self.reason = reason
        self.status = status
        self.retry_after_s = retry_after_s


class AddressRefused(OSError):  # noqa: N818 -- as above
    """Raised instead of creating a socket.

    It is an OSError without details, because aiohttp tries the next address only after an OSError, and keeps the type
    only if all addresses of a host fail with the same text.
    """

    def __init__(self) -> None:
        super().__init__("address refused")


@contextmanager
def translate_errors() -> Iterator[None]:
    """Translate exceptions of aiohttp into the errors above, without causes, so that no traceback reveals more."""
    try:
        yield
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _translate(error) from None


def _translate(error: Exception) -> EgressError:  # noqa: PLR0911 -- a table of exceptions, first match wins
    if isinstance(error, TimeoutError):
        return EgressTimeout()
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, AddressRefused):
        return EgressDenied("its address or port is not allowed")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return EgressFailed("the host name does not resolve")
    if isinstance(error, aiohttp.InvalidURL):
        return EgressDenied("it is malformed")
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError | ssl.CertificateError):
        return EgressFailed("no trusted TLS connection could be made")
    if isinstance(error, aiohttp.ClientConnectorError):
        return EgressFailed("the host could not be connected to")
    return EgressFailed("the connection broke off or the answer was malformed")

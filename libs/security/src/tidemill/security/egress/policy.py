"""Which URLs and socket addresses users may make us connect to. Pure decisions, no I/O.

A URL is checked before its host is resolved, an address before its socket is created; both must pass. The operator's
allow-list permits any kind of address; the deny-list wins over it, and no list opens the platform's own endpoints.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import ip_address, ip_network
from typing import Self

from yarl import URL

from tidemill.security.egress.addresses import Address, Network, is_public_address, unwrap
from tidemill.security.egress.errors import EgressDenied
from tidemill.security.egress.reserved_endpoints import ReservedEndpoints

MAX_URL_CHARS = 8_192  # signed URLs of object stores take up to 2,000; servers give up at 8 kB
PUBLIC_PORTS = frozenset({80, 443})  # other ports may be mail servers, databases or SSH

_MAX_HOST_CHARS = 253  # RFC 1035
# Underscores are not valid in host names, but occur in real ones.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
# The last label decides whether WHATWG and getaddrinfo read a host as an IPv4 address: 127.1, 0x7f000001, 0177.0.1
_NUMERIC_HOST = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")
_PLAIN_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_VISIBLE = re.compile(r"[^\x00-\x20\x7f-\xa0]+")
_USERINFO = re.compile(r"[a-z]+://[^/?#]*@", re.IGNORECASE)
# A URL that needs no quoting. It is sent unchanged: re-quoting would break signatures over the path or query.
_NO_QUOTING = re.compile(r"https?://[a-z0-9.-]+(?::[0-9]{1,5})?/(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")


class ListMatch(IntEnum):
    """How the allow-list matches a host or address. An entry with a port is more certain than one without."""

    NO = 0
    ANY_PORT = 1
    THIS_PORT = 2


@dataclass(frozen=True, slots=True)
class AllowList:
    """The operator's allow-list. Port None means every port."""

    networks: tuple[tuple[Network, int | None], ...] = ()
    hosts: frozenset[tuple[str, int | None]] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `10.0.0.0/8, 127.0.0.1/32:9000, fd00::/8, [fd00::/8]:9000, hooks.lan, hooks.lan:8443`; may be empty.

        Raise ValueError at the first entry that has none of these forms.
        """
        entries = [_parse_entry(each.strip()) for each in text.split(",") if each.strip()]
        return cls(
            networks=tuple((what, port) for what, port in entries if not isinstance(what, str)),
            hosts=frozenset((what, port) for what, port in entries if isinstance(what, str)),
        )

    def of_host(self, host: str, port: int) -> ListMatch:
        name = host.removesuffix(".")
        if (name, port) in self.hosts:
            return ListMatch.THIS_PORT
        return ListMatch.ANY_PORT if (name, None) in self.hosts else ListMatch.NO

    def of_address(self, address: Address, port: int) -> ListMatch:
        ports = {at for network, at in self.networks if address in network}
        if port in ports:
            return ListMatch.THIS_PORT
        return ListMatch.ANY_PORT if None in ports else ListMatch.NO


@dataclass(frozen=True, slots=True)
class EgressTarget:
    """A permitted URL. `listed`: how the allow-list names its host; if it does, the host may have any address."""

    url: URL
    listed: ListMatch


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    allow: AllowList = field(default_factory=AllowList)
    # Networks of our own public addresses. Wins over `allow`.
    deny: tuple[Network, ...] = ()
    # The platform's own endpoints, as known at the moment. Wins over `allow`.
    reserved: Callable[[], ReservedEndpoints] = ReservedEndpoints
    allow_http: bool = False
    user_agent: str = "Tidemill"

    def target(self, text: str) -> EgressTarget:
        """Check a URL without a look-up. Raise EgressDenied."""
        url, port = _parse_url(text)
        if url.scheme != "https" and not (self.allow_http and url.scheme == "http"):
            raise EgressDenied("its scheme is not http or https" if self.allow_http else "its scheme is not https")
        host = url.raw_host
        if not host or not port:
            raise EgressDenied("it has no host or no port")
        literal = _parse_literal(host)
        if literal is not None and not self.permits(host, port):
            raise EgressDenied("its address or port is not allowed")
        return EgressTarget(url, ListMatch.NO if literal is not None else self.allow.of_host(host, port))

    def gate(self, target: EgressTarget) -> Callable[[str, int], bool]:
        """Return the check of (address, port) for sockets of this target."""
        return (self.permits, self.permits_listed, self.permits_named)[target.listed]

    def permits(self, address: str, port: int) -> bool:
        """Check an address of a host that the allow-list does not name."""
        return self._permits(address, port, ListMatch.NO)

    def permits_listed(self, address: str, port: int) -> bool:
        """Check an address of a host that the allow-list names without a port."""
        return self._permits(address, port, ListMatch.ANY_PORT)

    def permits_named(self, address: str, port: int) -> bool:
        """Check an address of a host that the allow-list names with this port, which `target` has checked."""
        return self._permits(address, port, ListMatch.THIS_PORT)

    def _permits(self, address: str, port: int, of_host: ListMatch) -> bool:
        ip = _address(address)
        if ip is None or self._denies(ip):
            return False
        if port in PUBLIC_PORTS and is_public_address(ip):
            return True
        listing = max(of_host, self.allow.of_address(ip, port))
        return listing > ListMatch.NO and not self.reserved().refuses(
            ip, port, port_named=listing is ListMatch.THIS_PORT
        )

    def _denies(self, ip: Address) -> bool:
        return any(ip in network for network in self.deny)


def check_url_form(text: str) -> None:
    """Raise EgressDenied for a URL that every policy refuses. A URL that passes may still be refused later."""
    url, port = _parse_url(text)
    if url.scheme not in {"http", "https"}:
        raise EgressDenied("its scheme is not http or https")
    if not url.raw_host or not port:
        raise EgressDenied("it has no host or no port")
    _parse_literal(url.raw_host)


def _parse_url(text: str) -> tuple[URL, int | None]:
    if len(text) > MAX_URL_CHARS:
        raise EgressDenied(f"it is longer than {MAX_URL_CHARS} characters")
    if _VISIBLE.fullmatch(text) is None:
        raise EgressDenied("it has spaces or control characters")
    if _USERINFO.match(text):
        raise EgressDenied("it has a user name or password")
    try:
        url = URL(text, encoded=_NO_QUOTING.fullmatch(text) is not None)
        # Read the port here, because yarl parses that of an unquoted URL only on access.
        port = url.port
    except ValueError:
        raise EgressDenied("it is malformed") from None
    return url, port


def _parse_literal(host: str) -> Address | None:
    """Return the address in `host`, or None for a name. Raise EgressDenied for anything ambiguous."""
    if ":" in host:
        address = _address(host)
        if address is None:
            raise EgressDenied("its IP address is malformed")
        return address
    if _NUMERIC_HOST.fullmatch(host):
        address = _address(host) if _PLAIN_IPV4.fullmatch(host) else None
        if address is None:
            raise EgressDenied("its IP address is not in the usual form of four decimal numbers")
        return address
    if len(host) > _MAX_HOST_CHARS or _HOST.fullmatch(host) is None:
        raise EgressDenied("its host name is malformed")
    return None


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A scope names one of our interfaces.
    return None if "%" in text else unwrap(address)


_ENTRY = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:/[0-9]+)?)\]|(?P<rest>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?")


def _parse_entry(text: str) -> tuple[Network | str, int | None]:
    """Parse one entry of an allow-list. IPv6 is bare without a port, and in brackets with one."""
    match = _ENTRY.fullmatch(text)
    if match is None:
        return ip_network(text), None
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 0 < port <= 65_535:
        raise ValueError(f"no port: {text!r}")
    what = match["v6"] or match["rest"].lower()
    if match["v6"] or "/" in what or _NUMERIC_HOST.fullmatch(what):
        return ip_network(what), port
    if _HOST.fullmatch(what) is None:
        raise ValueError(f"neither a network nor a host name: {text!r}")
    return what.removesuffix("."), port

"""What of the addresses that an operator may list is the platform's own, so that no list opens it to users. Pure.

A server listens at any address of its machine, whatever the one that it is configured by; so on this machine the port
decides, and elsewhere the address with it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address
from typing import Self

from tidemill.security.egress.addresses import Address

SocketAddress = tuple[Address, int]  # an address and a TCP port

_LOOPBACK = IPv4Network("127.0.0.0/8")
_WILDCARD = IPv4Network("0.0.0.0/8")  # dialled, 0.0.0.0 is this machine
_OWN_V6 = frozenset({IPv6Address("::"), IPv6Address("::1")})


@dataclass(frozen=True, slots=True)
class ReservedEndpoints:
    """`here` are this machine's addresses besides loopback, `ports` those of the platform on it. `beside` are ports of
    programs that may belong to it, and `unclear` are machines with a server of which nobody here sees what else it
    listens on: both are refused unless the operator's entry names the port.
    """

    here: frozenset[Address] = frozenset()
    ports: frozenset[int] = frozenset()
    beside: frozenset[int] = frozenset()
    elsewhere: frozenset[SocketAddress] = frozenset()
    unclear: frozenset[Address] = frozenset()
    unclear_here: bool = False

    @classmethod
    def of(
        cls,
        here: Iterable[Address],
        servers: Collection[SocketAddress],
        *,
        owned: Mapping[int, Collection[int]] | None = None,
        beside: Iterable[int] = (),
    ) -> Self:
        """`servers` are the configured ones. `owned`: of those on this machine whose processes are seen, by port, all
        ports that these listen on.
        """
        machine, known = frozenset(here), owned or {}
        on_this = {port for address, port in servers if is_here(address, machine)}
        others = {each for each in servers if not is_here(each[0], machine)}
        return cls(
            here=machine,
            ports=frozenset(on_this).union(*known.values()),
            beside=frozenset(beside),
            elsewhere=frozenset(others),
            unclear=frozenset(address for address, _ in others),
            unclear_here=not on_this <= known.keys(),
        )

    def with_listeners(self, endpoints: Iterable[SocketAddress]) -> "ReservedEndpoints":
        """Also what the platform's services say that they listen on: these leave nothing unclear."""
        here, elsewhere = set(self.ports), set(self.elsewhere)
        for address, port in endpoints:
            if is_here(address, self.here):
                here.add(port)
            else:
                elsewhere.add((address, port))
        return ReservedEndpoints(
            self.here, frozenset(here), self.beside, frozenset(elsewhere), self.unclear, self.unclear_here
        )

    def refuses(self, address: Address, port: int, *, port_named: bool) -> bool:
        """Of an address that is unwrapped already and listed by the operator, by an entry with its port or without."""
        if is_here(address, self.here):
            return port in self.ports or (not port_named and (self.unclear_here or port in self.beside))
        return (address, port) in self.elsewhere or (not port_named and address in self.unclear)


def is_here(address: Address, machine: frozenset[Address]) -> bool:
    if isinstance(address, IPv6Address):
        return address in _OWN_V6 or address in machine
    return address in _LOOPBACK or address in _WILDCARD or address in machine

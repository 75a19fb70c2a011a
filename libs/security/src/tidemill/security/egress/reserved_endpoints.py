"""The platform's own addresses and ports, which no allow-list opens to users. Pure.

A server may listen on every address of its machine, so on this machine the port alone decides; on other machines
address and port do.
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
    """Addresses and ports that are refused.

    `local_addresses`: this machine's addresses besides loopback. `local_ports`: ports of the platform on it.
    `uncertain_ports`: local ports of programs that may belong to the platform. `remote`: servers on other machines.
    `uncertain_hosts`: machines of those servers, whose other ports are unknown here. `local_uncertain`: the same for
    this machine. Uncertain ones are refused unless the operator's entry names the port.
    """

    local_addresses: frozenset[Address] = frozenset()
    local_ports: frozenset[int] = frozenset()
    uncertain_ports: frozenset[int] = frozenset()
    remote: frozenset[SocketAddress] = frozenset()
    uncertain_hosts: frozenset[Address] = frozenset()
    local_uncertain: bool = False

    @classmethod
    def of(
        cls,
        local_addresses: Iterable[Address],
        servers: Collection[SocketAddress],
        *,
        owned: Mapping[int, Collection[int]] | None = None,
        uncertain_ports: Iterable[int] = (),
    ) -> Self:
        """`servers`: the configured servers. `owned`: for each local server whose process is visible, by its port, all
        ports that the process listens on.
        """
        machine, known = frozenset(local_addresses), owned or {}
        on_this = {port for address, port in servers if is_here(address, machine)}
        others = {each for each in servers if not is_here(each[0], machine)}
        return cls(
            local_addresses=machine,
            local_ports=frozenset(on_this).union(*known.values()),
            uncertain_ports=frozenset(uncertain_ports),
            remote=frozenset(others),
            uncertain_hosts=frozenset(address for address, _ in others),
            local_uncertain=not on_this <= known.keys(),
        )

    def with_listeners(self, endpoints: Iterable[SocketAddress]) -> "ReservedEndpoints":
        """Return the same with the endpoints that the platform's services report; these leave nothing uncertain."""
        here, elsewhere = set(self.local_ports), set(self.remote)
        for address, port in endpoints:
            if is_here(address, self.local_addresses):
                here.add(port)
            else:
                elsewhere.add((address, port))
        return ReservedEndpoints(
            self.local_addresses,
            frozenset(here),
            self.uncertain_ports,
            frozenset(elsewhere),
            self.uncertain_hosts,
            self.local_uncertain,
        )

    def refuses(self, address: Address, port: int, *, port_named: bool) -> bool:
        """Return whether an address on the operator's list is refused. `port_named`: the entry names the port.
        `address` is the result of `unwrap`.
        """
        if is_here(address, self.local_addresses):
            return port in self.local_ports or (
                not port_named and (self.local_uncertain or port in self.uncertain_ports)
            )
        return (address, port) in self.remote or (not port_named and address in self.uncertain_hosts)


def is_here(address: Address, machine: frozenset[Address]) -> bool:
    if isinstance(address, IPv6Address):
        return address in _OWN_V6 or address in machine
    return address in _LOOPBACK or address in _WILDCARD or address in machine

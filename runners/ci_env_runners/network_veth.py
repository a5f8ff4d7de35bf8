"""A network that the host routes: a pair of interfaces, an address, and a table that hides it. Root only.

pyroute2's only door. What there is on the host vanishes without anybody's help where this process is killed: the table
with its socket, the pair with the network namespace at its other end.
"""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from typing import Protocol, cast

from ci_env.errors import HostError
from ci_env_runners import firewall, netlink, nftables
from ci_env_runners.firewall import Address

INNER_NAME = "eth0"
_POOLS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15")
_PREFIX = 30
_ULA = int(IPv6Network("fd00::/8").network_address)
_TRIES = 64
_HINT = "`ci-env doctor` says what `network: nat` needs here"
_NO_DETECTION = 0x02
"""of duplicate addresses, which takes IPv6 two seconds"""


@dataclass(frozen=True, slots=True)
class Subnet:
    number: int
    """unique among those of this host"""
    ipv4: IPv4Network
    ipv6: IPv6Network | None

    @property
    def interface(self) -> str:
        return f"{firewall.PREFIX}{self.number:x}"

    def ends(self, index: int) -> tuple[IPv4Interface | IPv6Interface, ...]:
        """Return the addresses of one end: 1 is the host's, 2 the other."""
        ipv4 = IPv4Interface((self.ipv4[index], self.ipv4.prefixlen))
        return (ipv4,) if self.ipv6 is None else (ipv4, IPv6Interface((self.ipv6[index], self.ipv6.prefixlen)))


@dataclass(frozen=True, slots=True)
class Link:
    """The other end, in the namespace."""

    index: int
    subnet: Subnet


class _Link(Protocol):
    def get_attr(self, name: str) -> int: ...


class _Route(Protocol):
    """What is used of pyroute2.IPRoute."""

    def link(self, command: str, **fields: object) -> object: ...
    def addr(self, command: str, **fields: object) -> object: ...
    def link_lookup(self, *, ifname: str) -> Sequence[int]: ...
    def get_links(self, index: int) -> Sequence[_Link]: ...


@contextmanager
def routed(namespace: int, taken: Sequence[IPv4Network], servers: Sequence[Address], *, ipv6: bool) -> Generator[Link]:
    """Connect a network namespace to the host. What is `taken` is left alone; nothing is left afterwards."""
    with _reserved(taken, ipv6=ipv6) as subnet, netlink.open_socket(netlink.NETFILTER) as table:
        subnets = [network for network in (subnet.ipv4, subnet.ipv6) if network is not None]
        chains = firewall.outer(subnet.interface, subnets, servers)
        try:
            netlink.exchange(table, nftables.new_table(subnet.interface, chains, owned=True))
        except OSError as error:
            raise HostError(f"cannot hide the network of a step (nftables): {error.strerror}", hint=_HINT) from error
        with _pair(namespace, subnet) as index:
            yield Link(index, subnet)


@contextmanager
def _reserved(taken: Sequence[IPv4Network], *, ipv6: bool) -> Generator[Subnet]:
    """Give a subnet that no other process has: each holds an abstract socket of the host's network, named after it."""
    for subnet in _candidates(taken, ipv6=ipv6):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as reservation:
            try:
                reservation.bind(f"\0ci-env/network/{subnet.number:x}")
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            yield subnet
            return
    raise HostError("cannot find a subnet for `network: nat`: routes of this host cover all private addresses")


def _candidates(taken: Sequence[IPv4Network], *, ipv6: bool) -> Generator[Subnet]:
    for pool in map(IPv4Network, _POOLS):
        for _ in range(_TRIES):
            first = random.randrange(int(pool[0]), int(pool[-1]), 1 << (32 - _PREFIX))  # noqa: S311  # nothing is to be kept secret
            network = IPv4Network((first, _PREFIX))
            if not any(network.overlaps(other) for other in taken):
                ula = IPv6Network((_ULA | random.getrandbits(56) << 64, 64)) if ipv6 else None
                yield Subnet(first >> (32 - _PREFIX), network, ula)


@contextmanager
def _pair(namespace: int, subnet: Subnet) -> Generator[int]:
    """Make a pair of interfaces with one end in the namespace, and give the index of that end."""
    from pyroute2 import IPRoute, NetlinkError  # type: ignore[import-untyped]  # it has no stubs

    with cast("AbstractContextManager[_Route]", IPRoute()) as route:
        try:
            peer = {"ifname": INNER_NAME, "net_ns_fd": namespace}
            route.link("add", ifname=subnet.interface, kind="veth", peer=peer)
            (index,) = route.link_lookup(ifname=subnet.interface)
            for end in subnet.ends(1):
                route.addr(
                    "add", index=index, address=str(end.ip), prefixlen=end.network.prefixlen, flags=_NO_DETECTION
                )
            route.link("set", index=index, state="up")
            (link,) = route.get_links(index)
        except NetlinkError as error:
            raise HostError(f"cannot connect the network of a step (veth): {error}", hint=_HINT) from error
        try:
            yield link.get_attr("IFLA_LINK")
        finally:
            with suppress(NetlinkError):  # it is gone with its other end
                route.link("del", index=index)

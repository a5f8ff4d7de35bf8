"""This machine's own network, as far as networks behind it depend on it: addresses, routes, what it forwards.

Reads only. Sources: proc_net(5), Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from itertools import pairwise
from pathlib import Path

from ci_env_runners import netlink, nftables
from ci_env_runners.firewall import PREFIX, Address

_FORWARD_HOOK, _DROP = struct.pack(">I", 2), bytes(4)
_FAMILIES = (1, 2)
"""of chains that see IPv4: inet, ipv4"""
_LOOPBACK = "lo"


@dataclass(frozen=True, slots=True)
class Surface:
    addresses: tuple[Address, ...]
    """all but loopback's"""
    routes: tuple[IPv4Network, ...]
    """of the main table, without default routes"""
    routed: tuple[int, ...]
    """the versions of IP that have a default route"""
    forwarded: tuple[int, ...]
    """the versions of IP whose packets it passes on between interfaces"""


def look() -> Surface:
    """Return what there is now."""
    routes = list(_ipv4_routes())
    versions = ((4, any(route.prefixlen == 0 for route in routes)), (6, _has_ipv6_route()))
    switches = ((4, "ipv4/ip_forward"), (6, "ipv6/conf/all/forwarding"))
    return Surface(
        addresses=(*_ipv4_addresses(), *_ipv6_addresses()),
        routes=tuple(route for route in routes if route.prefixlen),
        routed=tuple(version for version, is_there in versions if is_there),
        forwarded=tuple(version for version, name in switches if _read(f"/proc/sys/net/{name}").strip() == "1"),
    )


def firewall_drops_forwarded() -> bool:
    """Tell whether a chain drops what is forwarded unless a rule allows it, and no rule names our interfaces."""
    with netlink.open_socket(netlink.NETFILTER) as opened:
        if not any(map(_drops_forwarded, netlink.dump(opened, nftables.list_chains()))):
            return False
        return not any(PREFIX.encode() in rule for rule in netlink.dump(opened, nftables.list_rules()))


def _drops_forwarded(chain: bytes) -> bool:
    found = netlink.attributes(chain[4:])
    hook = netlink.attributes(found.get(4, b""))
    return chain[0] in _FAMILIES and hook.get(1) == _FORWARD_HOOK and found.get(5) == _DROP


def _ipv4_routes() -> Iterator[IPv4Network]:
    for line in _read("/proc/net/route").splitlines()[1:]:
        words = line.split()
        destination, mask = (struct.pack("=I", int(words[index], 16)) for index in (1, 7))
        yield IPv4Network((destination, str(IPv4Address(mask))))


def _has_ipv6_route() -> bool:
    lines = (line.split() for line in _read("/proc/net/ipv6_route").splitlines())
    return any(words[0] == "0" * 32 and words[1] == "00" and words[-1] != _LOOPBACK for words in lines)


def _ipv4_addresses() -> Iterator[Address]:
    lines = [line.split() for line in _read("/proc/net/fib_trie").splitlines()]
    found = {before[1] for before, words in pairwise(lines) if words == ["/32", "host", "LOCAL"]}
    yield from sorted(address for address in map(IPv4Address, found) if not address.is_loopback)


def _ipv6_addresses() -> Iterator[Address]:
    found = {IPv6Address(int(line.split()[0], 16)) for line in _read("/proc/net/if_inet6").splitlines()}
    yield from sorted(address for address in found if not address.is_loopback)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""

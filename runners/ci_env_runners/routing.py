"""An interface with an address and a default route, as netlink messages, rtnetlink(7). Pure."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Interface, IPv6Interface

from ci_env_runners import netlink
from ci_env_runners.firewall import Address
from ci_env_runners.netlink import attribute

_NEW_LINK, _NEW_ADDRESS, _NEW_ROUTE = 16, 20, 24
_UP = 1
_NO_DETECTION = 0x02
"""of duplicates, which takes IPv6 two seconds"""
_ADDRESS, _LOCAL = 1, 2
_OUT, _GATEWAY = 4, 5
_MAIN_TABLE, _STATIC, _UNICAST = 254, 4, 1
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def bring_up(index: int) -> bytes:
    return _message(_NEW_LINK, 0, struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, _UP, _UP))


def add_address(index: int, interface: IPv4Interface | IPv6Interface) -> bytes:
    family, packed = _FAMILIES[interface.version], interface.ip.packed
    header = struct.pack("=BBBBI", family, interface.network.prefixlen, _NO_DETECTION, 0, index)
    return _message(_NEW_ADDRESS, netlink.CREATE, header, attribute(_LOCAL, packed), attribute(_ADDRESS, packed))


def add_default_route(index: int, gateway: Address) -> bytes:
    family = _FAMILIES[gateway.version]
    header = struct.pack("=8BI", family, 0, 0, 0, _MAIN_TABLE, _STATIC, 0, _UNICAST, 0)
    out = attribute(_OUT, struct.pack("=i", index))
    return _message(_NEW_ROUTE, netlink.CREATE, header, out, attribute(_GATEWAY, gateway.packed))


def _message(kind: int, flags: int, *body: bytes) -> bytes:
    return netlink.message(kind, flags | netlink.ACK, *body)

"""Tables of nftables as netlink messages: what a rule matches and does, in the kernel's own terms. Pure.

Source: include/uapi/linux/netfilter/nf_tables.h; what nft(8) sends, as `nft --debug=netlink` shows it. Knows the
parts that firewall.py uses, and no others.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Literal, NamedTuple

from ci_env_runners import netlink
from ci_env_runners.netlink import attribute, nested, text

Rule = tuple[bytes, ...]
"""expressions: all those that match, then a verdict"""
Network = IPv4Network | IPv6Network

TCP, UDP, ICMPV6 = 6, 17, 58
_INET = 1
_SUBSYSTEM = 10
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEW_TABLE, _NEW_CHAIN, _GET_CHAIN, _NEW_RULE, _GET_RULE = 0, 3, 4, 6, 7
_OWNED = 2
_HOOKS = {"input": 1, "forward": 2, "output": 3, "postrouting": 4}
_PRIORITIES = {"filter": 0, "nat": 100}
_REGISTER = 1
_EQUAL, _UNEQUAL, _AT_MOST, _AT_LEAST = 0, 1, 3, 5
_META_IN, _META_OUT, _META_FAMILY, _META_PROTOCOL = 6, 7, 15, 16
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_FAMILIES = {4: 2, 6: 10}
_SOURCE_AT, _DESTINATION_AT = {4: 12, 6: 8}, {4: 16, 6: 24}
_ESTABLISHED_OR_RELATED = 2 | 4
_DROP, _ACCEPT = 0, 1
_REJECT_UNREACHABLE, _REJECT_RESET = 2, 1
_PORT_UNREACHABLE = 1
_NAME_BYTES = 16


class Chain(NamedTuple):
    """A chain at a hook. What no rule decides is accepted."""

    hook: Literal["input", "forward", "output", "postrouting"]
    kind: Literal["filter", "nat"]
    rules: tuple[Rule, ...]


def new_table(name: str, chains: Sequence[Chain], *, owned: bool) -> list[bytes]:
    """Return the messages that make a table for IPv4 and IPv6, all of it or nothing.

    An `owned` one goes with the socket that they are sent by, whatever becomes of its process.
    """
    flags = _OWNED if owned else 0
    messages = [_message(_NEW_TABLE, netlink.CREATE | netlink.EXCL, text(1, name), attribute(2, _number(flags)))]
    for chain in chains:
        hook = nested(4, attribute(1, _number(_HOOKS[chain.hook])), attribute(2, _number(_PRIORITIES[chain.kind])))
        described = (text(1, name), text(3, chain.hook), hook, text(7, chain.kind))
        messages.append(_message(_NEW_CHAIN, netlink.CREATE, *described))
        for rule in chain.rules:
            expressions = nested(4, *(nested(1, expression) for expression in rule))
            flags = netlink.CREATE | netlink.APPEND
            messages.append(_message(_NEW_RULE, flags, text(1, name), text(2, chain.hook), expressions))
    return [_batch(_BATCH_BEGIN), *messages, _batch(_BATCH_END)]


def list_chains() -> bytes:
    """Return the question for all chains there are."""
    return netlink.message(_SUBSYSTEM << 8 | _GET_CHAIN, netlink.DUMP, struct.pack(">BBH", 0, 0, 0))


def list_rules() -> bytes:
    """Return the question for all rules there are."""
    return netlink.message(_SUBSYSTEM << 8 | _GET_RULE, netlink.DUMP, struct.pack(">BBH", 0, 0, 0))


def comes_in(name: str) -> Rule:
    """Match what comes from an interface."""
    return (_meta(_META_IN), _compare(_EQUAL, _padded(name)))


def goes_out(name: str, *, is_prefix: bool = False) -> Rule:
    """Match what goes to an interface, or to any whose name begins so."""
    return (_meta(_META_OUT), _compare(_EQUAL, name.encode() if is_prefix else _padded(name)))


def goes_elsewhere(name: str) -> Rule:
    """Match what goes to another interface than this one."""
    return (_meta(_META_OUT), _compare(_UNEQUAL, _padded(name)))


def comes_from(network: Network) -> Rule:
    return _address(network, _SOURCE_AT)


def goes_to(network: Network) -> Rule:
    return _address(network, _DESTINATION_AT)


def is_of(protocol: int) -> Rule:
    return (_meta(_META_PROTOCOL), _compare(_EQUAL, bytes([protocol])))


def goes_to_port(protocol: int, port: int) -> Rule:
    return (*is_of(protocol), _payload(_TRANSPORT_HEADER, 2, 2), _compare(_EQUAL, struct.pack(">H", port)))


def finds_neighbours() -> Rule:
    """Match the messages of ICMPv6 without which no address of a link is found: types 133 to 136."""
    kind = _payload(_TRANSPORT_HEADER, 0, 1)
    return (*is_of(ICMPV6), kind, _compare(_AT_LEAST, bytes([133])), _compare(_AT_MOST, bytes([136])))


def answers() -> Rule:
    """Match what belongs to a connection that the other side has begun."""
    state = _expression("ct", attribute(1, _number(_REGISTER)), attribute(2, _number(0)))
    bits = struct.pack("=I", _ESTABLISHED_OR_RELATED)
    return (state, _masked(bits), _compare(_UNEQUAL, bytes(4)))


def accept() -> Rule:
    return (_verdict(_ACCEPT),)


def drop() -> Rule:
    return (_verdict(_DROP),)


def masquerade() -> Rule:
    return (_expression("masq"),)


def reset() -> Rule:
    """Refuse a TCP connection."""
    return (_expression("reject", attribute(1, _number(_REJECT_RESET))),)


def refuse() -> Rule:
    """Refuse what is no TCP connection."""
    how = (attribute(1, _number(_REJECT_UNREACHABLE)), attribute(2, bytes([_PORT_UNREACHABLE])))
    return (_expression("reject", *how),)


def _address(network: Network, offsets: dict[int, int]) -> Rule:
    size = network.max_prefixlen // 8
    family = (_meta(_META_FAMILY), _compare(_EQUAL, bytes([_FAMILIES[network.version]])))
    found = _payload(_NETWORK_HEADER, offsets[network.version], size)
    mask = () if network.prefixlen == network.max_prefixlen else (_masked(network.netmask.packed),)
    return (*family, found, *mask, _compare(_EQUAL, network.network_address.packed))


def _meta(key: int) -> bytes:
    return _expression("meta", attribute(1, _number(_REGISTER)), attribute(2, _number(key)))


def _payload(base: int, offset: int, size: int) -> bytes:
    numbers = (_REGISTER, base, offset, size)
    return _expression("payload", *(attribute(kind, _number(number)) for kind, number in enumerate(numbers, 1)))


def _masked(mask: bytes) -> bytes:
    register = (attribute(1, _number(_REGISTER)), attribute(2, _number(_REGISTER)), attribute(3, _number(len(mask))))
    return _expression("bitwise", *register, nested(4, attribute(1, mask)), nested(5, attribute(1, bytes(len(mask)))))


def _compare(how: int, value: bytes) -> bytes:
    return _expression(
        "cmp", attribute(1, _number(_REGISTER)), attribute(2, _number(how)), nested(3, attribute(1, value))
    )


def _verdict(code: int) -> bytes:
    return _expression("immediate", attribute(1, _number(0)), nested(2, nested(2, attribute(1, _number(code)))))


def _expression(name: str, *data: bytes) -> bytes:
    return text(1, name) + nested(2, *data)


def _padded(name: str) -> bytes:
    return name.encode().ljust(_NAME_BYTES, b"\0")


def _number(number: int) -> bytes:
    return struct.pack(">I", number)


def _message(kind: int, flags: int, *attributes: bytes) -> bytes:
    header = struct.pack(">BBH", _INET, 0, 0)
    return netlink.message(_SUBSYSTEM << 8 | kind, flags | netlink.ACK, header, *attributes)


def _batch(kind: int) -> bytes:
    return netlink.message(kind, 0, struct.pack(">BBH", 0, 0, _SUBSYSTEM))

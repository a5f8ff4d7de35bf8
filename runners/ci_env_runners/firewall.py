"""What a network may let through, as tables of nftables. Pure: decides, and touches nothing.

There are two tables. The *inner* one is in the network namespace itself, where its steps cannot change it, having no
right to; it decides where they may reach. The *outer* one is on the host, of a network that the host routes: it hides
the network's address, and keeps it from the host itself and from other networks of ci-env.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network

from ci_env_runners import nftables
from ci_env_runners.nftables import TCP, UDP, Chain, Rule

Address = IPv4Address | IPv6Address

TABLE = "ci-env"
PREFIX = "ci-env"
"""of the names of interfaces on the host"""
_DNS = 53
_METADATA = ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "fd20:ce::/32", "100.100.100.200/32", "168.63.129.16/32")
"""link-local addresses, and where clouds tell a machine its secrets: AWS, Google, Alibaba, Azure"""


def inner(hosts: Sequence[Address], servers: Sequence[Address], allowed: Sequence[tuple[Address, int]] | None) -> Chain:
    """Return the chain that decides where steps may reach.

    `hosts` are the machine's own addresses and `servers` its name servers; `allowed` the only targets, None: all but
    the machine itself and its cloud's metadata.
    """
    rules: list[Rule] = [(*nftables.goes_out("lo"), *nftables.accept())]
    rules.append((*nftables.finds_neighbours(), *nftables.accept()))
    rules += _to([(server, _DNS) for server in servers])
    for network in (*map(ip_network, hosts), *map(ip_network, _METADATA)):
        rules += _refusals(nftables.goes_to(network))
    if allowed is not None:
        rules += _to(allowed)
        rules += _refusals(())
    return Chain("output", "filter", tuple(rules))


def outer(interface: str, subnets: Sequence[nftables.Network], servers: Sequence[Address]) -> tuple[Chain, ...]:
    """Return the chains of the host for a network behind `interface`."""
    incoming = nftables.comes_in(interface)
    enter: list[Rule] = [(*incoming, *nftables.finds_neighbours(), *nftables.accept())]
    enter += [(*incoming, *rule) for rule in _to([(server, _DNS) for server in servers])]
    enter += _refusals(incoming)
    cross = [
        *_refusals((*incoming, *nftables.goes_out(PREFIX, is_prefix=True))),
        (*nftables.goes_out(interface), *nftables.answers(), *nftables.accept()),
        (*nftables.goes_out(interface), *nftables.drop()),
    ]
    leave = [
        (*nftables.comes_from(subnet), *nftables.goes_elsewhere(interface), *nftables.masquerade())
        for subnet in subnets
    ]
    return (
        Chain("input", "filter", tuple(enter)),
        Chain("forward", "filter", tuple(cross)),
        Chain("postrouting", "nat", tuple(leave)),
    )


def _to(targets: Sequence[tuple[Address, int]]) -> Iterator[Rule]:
    for address, port in targets:
        for protocol in (TCP, UDP):
            way = nftables.goes_to_port(protocol, port)
            yield (*nftables.goes_to(ip_network(address)), *way, *nftables.accept())


def _refusals(match: Rule) -> list[Rule]:
    """Refuse what matches so that it is noticed at once, not after a timeout."""
    return [(*match, *nftables.is_of(TCP), *nftables.reset()), (*match, *nftables.refuse())]

"""How a network that reaches out is had here: routed by the host, or carried by pasta. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ci_env.errors import HostError
from ci_env_runners import network_pasta, resolver
from ci_env_runners.firewall import Address
from ci_env_runners.surface import Surface

_FIX = f"install {network_pasta.PACKAGE}, which needs no rights:\n$ sudo apt-get install passt"


@dataclass(frozen=True, slots=True)
class Way:
    program: tuple[str, ...]
    """of pasta; empty: the host routes"""
    versions: tuple[int, ...]
    """of IP that reach out"""
    resolver: str
    """/etc/resolv.conf inside"""
    servers: tuple[Address, ...]
    """the name servers in it"""


@dataclass(frozen=True, slots=True)
class Host:
    """What the decision depends on."""

    mode: str
    """of idmap.IdMap"""
    surface: Surface
    resolver: str
    """/etc/resolv.conf, as far as it may serve others"""
    firewall_drops: bool
    pasta: str | None


def choose(host: Host, *, needs_names: bool) -> Way:
    """Return the way. HostError where there is none says what stands against each."""
    if host.mode == "root" and not any(_obstacles(host, needs_names=needs_names)):
        return _routed(host)
    if host.pasta is not None:
        return _carried(host, host.pasta)
    reasons = list(_obstacles(host, needs_names=needs_names)) if host.mode == "root" else []
    if not reasons:
        raise HostError("`network: nat` needs pasta, which is not installed", hint=_FIX)
    what, fixes = zip(*reasons, strict=True)
    hint = "\n".join((*fixes, f"or {_FIX}"))
    raise HostError(f"this host does not route for `network: nat`: {'; '.join(what)}", hint=hint)


def _obstacles(host: Host, *, needs_names: bool) -> Iterator[tuple[str, str]]:
    """Yield why this host cannot route, and what changes that."""
    if 4 not in host.surface.forwarded:
        yield "net.ipv4.ip_forward is 0", "have it forward packets:\n$ sudo sysctl -w net.ipv4.ip_forward=1"
    if host.firewall_drops:
        fix = (
            "let them through:\n$ sudo iptables -I FORWARD -i ci-env+ -j ACCEPT\n"
            "$ sudo iptables -I FORWARD -o ci-env+ -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"
        )
        yield "its firewall drops what it forwards", fix
    if needs_names and all(server.is_loopback for server in resolver.servers(host.resolver)):
        yield "its name server listens on loopback only", "name another one in /etc/resolv.conf"


def _routed(host: Host) -> Way:
    ipv6 = (6,) if 6 in host.surface.forwarded and 6 in host.surface.routed else ()
    content = resolver.without(host.resolver, frozenset())
    return Way((), (4, *ipv6), content, resolver.servers(content))


def _carried(host: Host, program: str) -> Way:
    """Return the way through pasta. It gives the namespace the host's address, where no server of the host answers."""
    content = resolver.without(host.resolver, frozenset(host.surface.addresses))
    forwards_names = all(server.is_loopback for server in resolver.servers(content))
    if forwards_names:
        content += f"nameserver {network_pasta.FORWARDER}\n"
    argv = network_pasta.arguments(program, host.surface.routed, forwards_names=forwards_names)
    return Way(argv, host.surface.routed, content, resolver.servers(content))

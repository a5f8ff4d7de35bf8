"""How `network: nat` is had: what a host routes itself, what pasta carries, and what is said where neither goes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from ci_env.errors import HostError
from ci_env_runners import resolver
from ci_env_runners.network_nat import Host, Way, choose
from ci_env_runners.surface import Surface

OWN = (ip_address("198.51.100.2"), ip_address("2001:db8::2"))
SURFACE = Surface(OWN, routes=(), routed=(4, 6), forwarded=(4,))
ROOT = Host("root", SURFACE, "nameserver 192.0.2.53\n", firewall_drops=False, pasta="/usr/bin/pasta")
USER = replace(ROOT, mode="subordinate")
BARE = replace(ROOT, pasta=None)


def ways(host: Host, *, needs_names: bool = True) -> tuple[str, tuple[int, ...], str]:
    """Return who carries packets, of which versions of IP, and what names are asked of."""
    way: Way = choose(host, needs_names=needs_names)
    return way.program[0] if way.program else "host", way.versions, way.resolver


def test_roots_host_routes() -> None:
    assert ways(ROOT) == ways(BARE) == ("host", (4,), "nameserver 192.0.2.53\n")
    forwards_all = replace(SURFACE, forwarded=(4, 6))
    assert ways(replace(ROOT, surface=forwards_all))[1] == (4, 6)
    assert ways(replace(ROOT, surface=replace(forwards_all, routed=(4,))))[1] == (4,)


def test_a_users_packets_are_carried() -> None:
    assert ways(USER) == ("/usr/bin/pasta", (4, 6), "nameserver 192.0.2.53\n")
    assert choose(replace(USER, surface=replace(SURFACE, routed=(4,))), needs_names=True).program[-1] == "--ipv4-only"


@pytest.mark.parametrize(
    ("host", "message"),
    [
        (replace(BARE, surface=replace(SURFACE, forwarded=())), "net.ipv4.ip_forward is 0"),
        (replace(BARE, firewall_drops=True), "its firewall drops what it forwards"),
        (replace(BARE, resolver="nameserver 127.0.0.1\n"), "its name server listens on loopback only"),
        (replace(BARE, resolver=""), "its name server listens on loopback only"),
    ],
)
def test_what_keeps_a_host_from_routing(host: Host, message: str) -> None:
    with pytest.raises(HostError, match=message) as caught:
        choose(host, needs_names=True)
    assert caught.value.hint is not None
    assert "apt-get install passt" in caught.value.hint
    assert ways(replace(host, pasta="/bin/pasta"))[0] == "/bin/pasta"


def test_an_allow_list_needs_no_name_server() -> None:
    assert ways(replace(BARE, resolver=""), needs_names=False)[0] == "host"


def test_a_user_without_pasta() -> None:
    with pytest.raises(HostError, match="needs pasta, which is not installed"):
        choose(replace(USER, pasta=None), needs_names=False)


@pytest.mark.parametrize("own", ["127.0.0.1", "::1", "198.51.100.2"])
def test_a_name_server_of_the_host_is_asked_by_pasta(own: str) -> None:
    way = choose(replace(USER, resolver=f"search corp.test\nnameserver {own}\noptions ndots:2\n"), needs_names=True)
    assert way.resolver == "search corp.test\noptions ndots:2\nnameserver 169.254.1.1\n"
    assert way.program[-2:] == ("--dns-forward", "169.254.1.1")
    assert way.servers == (ip_address("169.254.1.1"),)


def test_systemd_resolved_is_left_out() -> None:
    stub, upstream = "nameserver 127.0.0.53\noptions edns0\n", "nameserver 192.0.2.1\nnameserver 192.0.2.2\n"
    assert resolver.choose(stub, upstream) == upstream
    assert resolver.choose("nameserver 192.0.2.9\n", upstream) == "nameserver 192.0.2.9\n"
    assert resolver.choose(stub, "") == stub
    assert resolver.choose("", upstream) == upstream


def test_lines_that_name_no_server() -> None:
    content = "# nameserver 192.0.2.1\nnameserver\nnameserver nonsense\n nameserver fe80::1%eth0\n"
    assert resolver.servers(content) == (ip_address("fe80::1"),)

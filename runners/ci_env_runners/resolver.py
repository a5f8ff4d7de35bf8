"""Name servers for a network that is not the host's: what its /etc/resolv.conf says. Source: resolv.conf(5)."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from ci_env_runners.firewall import Address

_RESOLV_CONF = Path("/etc/resolv.conf")
_RESOLVED = Path("/run/systemd/resolve/resolv.conf")
"""the servers that systemd-resolved asks, which itself listens on the host's loopback only"""


def read() -> str:
    """Return this host's configuration, as far as it serves other network namespaces, too."""
    return choose(_read(_RESOLV_CONF), _read(_RESOLVED))


def choose(configured: str, upstream: str) -> str:
    """Return `upstream`, what systemd-resolved asks, where `configured` names nothing but servers on loopback."""
    is_stub = all(server.is_loopback for server in servers(configured))
    return upstream if is_stub and any(_servers(upstream)) else configured


def servers(content: str) -> tuple[Address, ...]:
    """Return the name servers; with none given, the C library asks the machine itself."""
    return tuple(_servers(content)) or (ip_address("127.0.0.1"),)


def without(content: str, unreachable: frozenset[Address]) -> str:
    """Return the configuration without these servers and those of loopback."""
    lines = content.splitlines(keepends=True)
    return "".join(line for line in lines if not any(s.is_loopback or s in unreachable for s in _servers(line)))


def _servers(content: str) -> Iterator[Address]:
    for line in content.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                yield ip_address(words[1].partition("%")[0])
            except ValueError:
                continue


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="surrogateescape")
    except OSError:
        return ""

"""The targets that an `allow` list names: looked up once, on the host, so that names and rules cannot disagree."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from ci_env.errors import HostError, RegistryError
from ci_env_runners.firewall import Address


@dataclass(frozen=True, slots=True)
class Allowed:
    targets: tuple[tuple[Address, int], ...]
    hosts: str
    """lines of /etc/hosts: the names that have been looked up"""


def find(allow: Sequence[str], versions: Sequence[int]) -> Allowed:
    """Look up `host:port` each, with the versions of IP that there are. RegistryError where a name is nowhere."""
    targets: dict[tuple[Address, int], None] = {}
    names: dict[tuple[Address, str], None] = {}
    for entry in allow:
        host, _, port = entry.rpartition(":")
        found = [address for address in _look_up(host.strip("[]"), entry) if address.version in versions]
        if not found:
            raise HostError(f"`network: nat` reaches no address of {host} here: only of IPv{versions[0]}")
        for address in found:
            targets[address, int(port)] = None
            if str(address) != host.strip("[]"):
                names[address, host] = None
    return Allowed(tuple(targets), "".join(f"{address}\t{name}\n" for address, name in names))


def _look_up(host: str, entry: str) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise RegistryError(
            f"cannot find the address of {host}: {error.strerror or error}",
            hint=f"`allow: [{entry}]` needs it before the step starts; try again, or correct the name",
        ) from error
    return [ip_address(str(address[0]).partition("%")[0]) for *_, address in found]

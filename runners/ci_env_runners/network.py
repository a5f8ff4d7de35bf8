"""Networks that several sandboxes are in, as their caller sees them. Implements ports.SharedNetwork.

What is done inside a network namespace is done by the process that holds it (holder.py).
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, cast

from ci_env.errors import HostError
from ci_env.frozen import dataclass
from ci_env_runners.control import message
from ci_env_runners.loopback import accepts

if TYPE_CHECKING:
    from ci_env.pipeline.model import Network
    from ci_env.ports import SharedNetwork
    from ci_env_runners.firewall import Address
    from ci_env_runners.launch import Launcher
    from ci_env_runners.network_nat import Host
    from ci_env_runners.surface import Surface

_LINE = 4096
_NO_NAMES = "# the names that this step may use are in /etc/hosts\n"
_ENDED = "the network of a job has ended"
_PROGRAM_HINT = "`ci-env doctor` says what `network: nat` needs here"
_ENDED_HINT = "see the kernel's log for why (out of memory?), and run again"


@dataclass(frozen=True, slots=True)
class HostNetwork:
    """The machine's own."""

    def can_connect(self, port: int) -> bool:
        return accepts(port)


class HeldNetwork:
    """A network namespace, `namespace` a descriptor of it."""

    def __init__(self, control: socket.socket) -> None:
        """Take it over from its holder, which `control` leads to."""
        self._control = control
        self._answers = control.makefile("rb")
        self._lock = threading.Lock()
        said, descriptors, _, _ = socket.recv_fds(control, _LINE, 1, socket.MSG_CMSG_CLOEXEC)
        if not descriptors:
            raise _failure(said)
        self.namespace = descriptors[0]
        self.host_names = ""
        """further lines of its sandboxes' /etc/hosts"""
        self.resolver: str | None = None
        """their /etc/resolv.conf; None: that of the image"""

    def can_connect(self, port: int) -> bool:
        return bool(self.order({"connect": port})["connected"])

    def order(self, order: Mapping[str, object]) -> Mapping[str, object]:
        """Have the holder do something, and return its answer. HostError where it is gone, or could not."""
        with self._lock:
            try:
                self._control.sendall(message(json.dumps(order).encode()))
                line = self._answers.readline()
            except (OSError, ValueError) as error:  # closed, by either side
                raise HostError(_ENDED, hint=_ENDED_HINT) from error
        answer = cast("dict[str, object]", json.loads(line or b"{}"))
        if not answer or "failed" in answer:
            raise _failure(line)
        return answer

    def send(self, protocol: int, messages: Sequence[bytes]) -> None:
        """Have the kernel do in it what netlink messages say."""
        self.order({"netlink": protocol, "messages": [sent.hex() for sent in messages]})

    def close(self) -> None:
        """End the holder, and wait until it has ended."""
        os.close(self.namespace)
        with suppress(OSError), self._lock:
            self._control.shutdown(socket.SHUT_WR)
            while self._answers.readline():
                pass
        self._answers.close()
        self._control.close()


@contextmanager
def open_network(launcher: Launcher, network: Network, allow: tuple[str, ...]) -> Generator[SharedNetwork]:
    """Give a network, as ports.Runner says."""
    match network:
        case "host":
            yield HostNetwork()
        case "none":
            with _held(launcher) as held:
                yield held
        case "nat":
            with _nat(launcher, allow) as held:
                yield held


@contextmanager
def _held(launcher: Launcher, program: Sequence[str] = (), versions: Sequence[int] = ()) -> Generator[HeldNetwork]:
    """Give a network namespace with loopback, and with a program that connects it where one is given."""
    with launcher.network({"program": program, "versions": versions}) as control:
        network = HeldNetwork(control)
        try:
            yield network
        finally:
            network.close()


@contextmanager
def _nat(launcher: Launcher, allow: tuple[str, ...]) -> Generator[HeldNetwork]:
    from ci_env_runners import allowed, firewall, netlink, network_nat, nftables

    host = look_at_host(launcher.ids.mode)
    around = host.surface
    way = network_nat.choose(host, needs_names=not allow)
    found = allowed.find(allow, way.versions) if allow else None
    servers = () if found else way.servers
    chain = firewall.inner(around.addresses, servers, found.targets if found else None)
    with _held(launcher, way.program, way.versions) as network, ExitStack() as connection:
        network.send(netlink.NETFILTER, nftables.new_table(firewall.TABLE, (chain,), owned=False))
        if not way.program:
            connection.enter_context(_routed(network, around, servers, way.versions))
        network.host_names = found.hosts if found else ""
        network.resolver = _NO_NAMES if found else way.resolver
        yield network


@contextmanager
def _routed(
    network: HeldNetwork, around: Surface, servers: Sequence[Address], versions: Sequence[int]
) -> Generator[None]:
    """Have the host route for the network."""
    from ci_env_runners import netlink, routing
    from ci_env_runners.network_veth import routed

    with routed(network.namespace, around.routes, servers, ipv6=6 in versions) as link:
        messages = [routing.bring_up(link.index)]
        messages += [routing.add_address(link.index, end) for end in link.subnet.ends(2)]
        messages += [routing.add_default_route(link.index, end.ip) for end in link.subnet.ends(1)]
        network.send(netlink.ROUTE, messages)
        yield


def look_at_host(mode: str) -> Host:
    """Return what decides how `network: nat` is had by who has ids of the kind `mode` (idmap.py)."""
    from ci_env_runners import network_nat, network_pasta, resolver, surface

    drops = mode == "root" and surface.firewall_drops_forwarded()
    return network_nat.Host(mode, surface.look(), resolver.read(), drops, network_pasta.find())


def namespace_of(network: SharedNetwork | None) -> int | None:
    """Return the descriptor of a network that this runner has given; None: there is nothing to join."""
    return network.namespace if isinstance(network, HeldNetwork) else None


def names_in(network: SharedNetwork | None) -> tuple[str, str | None]:
    """Return further lines of /etc/hosts, and an /etc/resolv.conf, for a sandbox in `network`; None: the image's."""
    return (network.host_names, network.resolver) if isinstance(network, HeldNetwork) else ("", None)


def _failure(said: bytes) -> Exception:
    from ci_env_runners.ending import failure

    if not said.strip():
        return HostError(_ENDED, hint=_ENDED_HINT)
    answer = cast("dict[str, object]", json.loads(said))
    if answer["kind"] == "program":
        return HostError(f"cannot connect the network of a step: {answer['failed']}", hint=_PROGRAM_HINT)
    return failure(answer, "")

"""A network whose packets a program of this user's carries: pasta(1), which needs no rights. Decides its arguments."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

INTERFACE = "eth0"
FORWARDER = "169.254.1.1"
"""an address that pasta answers as name server, in the name of the host's own"""
PACKAGE = "passt (https://passt.top)"


def find() -> str | None:
    """Return the program."""
    return shutil.which("pasta")


def arguments(program: str, versions: Sequence[int], *, forwards_names: bool) -> tuple[str, ...]:
    """Return its command line, but for the namespace: no port and no address of the host is to be had inside."""
    only = () if len(versions) != 1 else ("--ipv4-only",) if 4 in versions else ("--ipv6-only",)
    names = ("--dns-forward", FORWARDER) if forwards_names else ()
    quiet = ("--foreground", "--quiet", "--no-netns-quit")
    inside = ("--config-net", "--netns-only", "--no-map-gw", "--ns-ifname", INTERFACE)
    ports = ("--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none")
    return (program, *quiet, *inside, *ports, *only, *names)

"""What was sent in vain in the network namespace of this process: by the kernel's own counts. Standard library only.

Source: proc_net(5), RFC 4293 (ipSystemStatsOutNoRoutes), RFC 4113 (udpNoPorts).
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import pairwise

_COUNTED = ("Ip.OutNoRoutes", "Udp.NoPorts", "Ip6OutNoRoutes", "Udp6NoPorts")
"""packets that no route leads out for; questions to a name server on loopback, as asked where none is known"""
_MAX_BYTES = 1 << 16


class Attempts:
    """The counts. Their files are opened now: later what is at their paths may be an image's."""

    def __init__(self) -> None:
        self._files: list[int] = []
        for name in ("snmp", "snmp6"):
            with suppress(OSError):
                self._files.append(os.open(f"/proc/self/net/{name}", os.O_RDONLY | os.O_CLOEXEC))
        self._before = self._count()

    def are_more(self) -> bool:
        """Tell whether there was any since this was made."""
        return self._count() > self._before

    def _count(self) -> int:
        counts: dict[str, int] = {}
        for file in self._files:
            lines = [line.split() for line in os.pread(file, _MAX_BYTES, 0).decode("ascii").splitlines()]
            counts |= _pairs(lines) | {words[0]: int(words[1]) for words in lines if len(words) == 2}
        return sum(counts.get(name, 0) for name in _COUNTED)


def _pairs(lines: list[list[str]]) -> dict[str, int]:
    """Return what lines of names say, with the numbers of the line after them."""
    found: dict[str, int] = {}
    for names, numbers in pairwise(lines):
        if names[0] == numbers[0]:
            kind = names[0].rstrip(":")
            found |= {f"{kind}.{name}": int(number) for name, number in zip(names[1:], numbers[1:], strict=True)}
    return found

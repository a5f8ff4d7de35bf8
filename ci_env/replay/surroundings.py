"""The machine of a record as one that a replay makes here, and what of it cannot be made. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ci_env.capsule.record import Host
from ci_env.ports import Machine

_LEAST_BYTES = 64 << 20
"""below that no step runs, so it is no machine's"""
_ALIKE = 0.05
"""kernels of one machine keep more or less for themselves"""


def machine_of(host: Host) -> Machine:
    """Return what the steps of a replay are to find."""
    cpus = max(host.cpus, 1)
    memory_bytes = host.memory_bytes if host.memory_bytes >= _LEAST_BYTES else 0
    return Machine(cpus, max(host.cpus_online or cpus, 1), memory_bytes)


def unlike(then: Host, here: Host, *, holds_memory: bool) -> tuple[str, ...]:
    """Return in words what steps find otherwise; `holds_memory`: a control group can keep more memory from them."""
    return tuple(_lines(then, here, holds_memory=holds_memory))


def _lines(then: Host, here: Host, *, holds_memory: bool) -> Iterator[str]:
    if then.cpus > here.cpus:
        yield f"{_processors(then.cpus)} then, {here.cpus} here: as many things at a time there cannot be"
    was, now = f"{then.memory_bytes / 2**30:.1f}", f"{here.memory_bytes / 2**30:.1f} GiB"
    if here.memory_bytes < then.memory_bytes * (1 - _ALIKE):
        yield f"{was} GiB of memory then, {now} here"
    elif not holds_memory and here.memory_bytes > then.memory_bytes * (1 + _ALIKE):
        yield f"{was} GiB of memory then, {now} here, and no control group to keep the step from having them"


def _processors(count: int) -> str:
    return "1 processor" if count == 1 else f"{count} processors"

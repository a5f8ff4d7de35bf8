"""Describes this machine for a record: what may explain that a run went another way elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from ci_env.capsule.record import Host

User = Literal["root", "rootless", "rootless-single-id"]
_OCTAL_SPACE = "\\040"  # proc_pid_mountinfo(5)


def describe(store: Path, *, user: User, measures: tuple[str, ...]) -> Host:
    """Return the facts; `measures` are the isolation in force."""
    system = os.uname()
    return Host(
        kernel=system.release,
        architecture=system.machine,
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        filesystem=_filesystem(store),
        user=user,
        measures=measures,
        cpus_online=os.sysconf("SC_NPROCESSORS_ONLN"),
    )


def _filesystem(path: Path) -> str:
    """Return the type of the filesystem mounted nearest above `path`."""
    found = ("", "unknown")
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        lines = []
    for line in lines:
        mount, _, filesystem = line.partition(" - ")
        point = mount.split(" ")[4].replace(_OCTAL_SPACE, " ")
        if path.is_relative_to(point) and len(point) >= len(found[0]):
            found = (point, filesystem.split(" ")[0])
    return found[1]

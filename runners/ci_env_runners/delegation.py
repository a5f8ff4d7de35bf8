"""Which control groups there are, and which this process may make. Changes nothing that lasts.

Sources: cgroups(7); the kernel's Documentation/admin-guide/cgroup-v2.rst, "Delegation".
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ci_env.frozen import dataclass

CONTROLLERS = ("cpu", "memory", "pids")
Version = Literal["none", "v1", "v2", "hybrid"]


@dataclass(frozen=True, slots=True)
class Delegation:
    version: Version
    """hybrid: v2 is mounted, but v1 has controllers"""
    limits: tuple[str, ...]
    """those of CONTROLLERS whose groups this process may make"""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A tree of groups, and where in it a process is."""

    version: Literal["v1", "v2"]
    controllers: frozenset[str]
    """with those that ci-env does not use; of v2: those that the process's own group may give on"""
    point: Path
    """where it is mounted"""
    own: Path
    """the directory of the process's group"""


@dataclass(frozen=True, slots=True)
class _Mount:
    root: str
    point: str
    options: frozenset[str]


def hierarchies(process: Path = Path("/proc/self")) -> tuple[Hierarchy, ...]:
    """Return the hierarchies that `process` sees, those of v1 first."""
    mounts = _mounts(_read(process / "mountinfo"))
    groups = _groups(_read(process / "cgroup"))
    v1 = [(mount, next((groups[name] for name in mount.options if name in groups), "/")) for mount in mounts["cgroup"]]
    v2 = [(mount, _directory(mount, groups.get("", "/"))) for mount in mounts["cgroup2"]]
    return (
        *(Hierarchy("v1", mount.options, Path(mount.point), _directory(mount, group)) for mount, group in v1),
        *(Hierarchy("v2", frozenset(_controllers(own)), Path(mount.point), own) for mount, own in v2),
    )


def read_delegation(process: Path = Path("/proc/self")) -> Delegation:
    """Find out by making a group and removing it again, in each hierarchy that matters to `process`."""
    seen = hierarchies(process)
    relevant = [one for one in seen if one.version == "v2" or one.controllers.intersection(CONTROLLERS)]
    writable = [one for one in relevant if can_make_group(one.own)]
    versions = {one.version for one in seen}
    return Delegation(
        version=_version(has_v1="v1" in versions, has_v2="v2" in versions),
        limits=tuple(name for name in CONTROLLERS if any(name in one.controllers for one in writable)),
    )


def can_make_group(directory: Path) -> bool:
    """Try whether a group can be made below the group `directory`."""
    trial = directory / f"ci-env-trial-{os.getpid()}"
    try:
        trial.mkdir()
    except OSError:
        return False
    trial.rmdir()
    return True


def _version(*, has_v1: bool, has_v2: bool) -> Version:
    if has_v1:
        return "hybrid" if has_v2 else "v1"
    return "v2" if has_v2 else "none"


def _mounts(mountinfo: str) -> Mapping[str, list[_Mount]]:
    """Return the mounts of both versions, by filesystem type; proc_pid_mountinfo(5)."""
    found: dict[str, list[_Mount]] = {"cgroup": [], "cgroup2": []}
    for line in mountinfo.splitlines():
        place, _, filesystem = line.partition(" - ")
        kind, _, options = filesystem.split(" ", 2)
        if kind in found:
            root, point = place.split(" ")[3:5]
            found[kind].append(_Mount(root, point, frozenset(options.split(","))))
    return found


def _groups(cgroup: str) -> Mapping[str, str]:
    """Return this process's group by controller; that of v2 under the empty name."""
    found: dict[str, str] = {}
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _directory(mount: _Mount, group: str) -> Path:
    """Return where `group` is seen; a mount's root may be below the hierarchy's, as in a container."""
    below = os.path.relpath(group, mount.root)
    return Path(mount.point) if below.startswith("..") else Path(mount.point, below)


def _controllers(directory: Path) -> list[str]:
    return _read(directory / "cgroup.controllers").split()


def _read(file: Path) -> str:
    """Return what is in `file`; nothing where it cannot be read, as in a kernel without control groups."""
    try:
        return file.read_text(errors="surrogateescape")
    except OSError:
        return ""

"""Where the groups of sandboxes go: below ci-env's own group, as far as that can be. Prepares v2 for it.

A group of v2 that holds processes can give controllers to none below it, but for the hierarchy's root (cgroup-v2.rst,
"No Internal Process Constraint"). So, where ci-env is alone in its group, it steps aside into a leaf; elsewhere the
nearest group above serves, that this process may write to and that gives its controllers on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from ci_env.frozen import dataclass
from ci_env_runners.delegation import CONTROLLERS, Hierarchy, can_make_group, hierarchies

_V1 = frozenset((*CONTROLLERS, "cpuacct", "freezer"))
_ASIDE = "ci-env-itself"


@dataclass(frozen=True, slots=True)
class Home:
    """A group below which those of sandboxes are made."""

    version: Literal["v1", "v2"]
    directory: Path
    controllers: frozenset[str]
    """what groups below it have"""


def find_homes(seen: Sequence[Hierarchy] | None = None) -> tuple[Home, ...]:
    """Return the homes that this process may use, none of them for controllers that another one has."""
    found: list[Home] = []
    for one in hierarchies() if seen is None else seen:
        home = _v1_home(one) if one.version == "v1" else _v2_home(one)
        taken = {name for other in found for name in other.controllers}
        if home is not None and not home.controllers <= taken:
            found.append(Home(home.version, home.directory, home.controllers - taken))
    return tuple(found)


def _v1_home(one: Hierarchy) -> Home | None:
    controllers = one.controllers & _V1
    return Home("v1", one.own, controllers) if controllers and can_make_group(one.own) else None


def _v2_home(one: Hierarchy) -> Home | None:
    """Return the nearest home that gives on all that is wanted, else the one that gives on most of it."""
    found: list[Home] = []
    for directory in _writable(one):
        if directory == one.own:
            _give_on(one)
        given = _words(directory / "cgroup.subtree_control").intersection(CONTROLLERS)
        found.append(Home("v2", directory, frozenset(given)))
        if len(given) == len(CONTROLLERS):
            break
    return max(found, key=lambda home: len(home.controllers), default=None)


def _writable(one: Hierarchy) -> Iterator[Path]:
    """Give the groups from the process's own one upwards, as long as groups can be made there."""
    own = one.own.parent if one.own.name == _ASIDE else one.own
    for directory in (own, *own.parents):
        if not directory.is_relative_to(one.point) or not can_make_group(directory):
            return
        yield directory


def _give_on(one: Hierarchy) -> None:
    """Have the process's own group give its controllers on, if no process of somebody else is in the way."""
    missing = one.controllers.intersection(CONTROLLERS) - _words(one.own / "cgroup.subtree_control")
    processes = _words(one.own / "cgroup.procs")
    is_root = not (one.own / "cgroup.type").exists()
    is_alone = processes == {str(os.getpid())}
    if not missing or not (is_root or is_alone or one.own == one.point):
        return
    with suppress(OSError):
        if not is_root:
            _step_aside(one.own, processes)
        for name in sorted(missing):
            (one.own / "cgroup.subtree_control").write_text(f"+{name}")


def _step_aside(own: Path, processes: set[str]) -> None:
    """Move what is in a group into a leaf of it: ci-env alone, or all of a container, whose root this group is."""
    leaf = own / _ASIDE
    leaf.mkdir(exist_ok=True)
    for process in processes:
        with suppress(ProcessLookupError):  # it has ended
            (leaf / "cgroup.procs").write_text(process)


def _words(file: Path) -> set[str]:
    try:
        return set(file.read_text().split())
    except OSError:
        return set()

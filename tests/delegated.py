"""Control groups that root gives to an ordinary user, as systemd does."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ci_env_runners.cgroup_home import Home, find_homes


@contextmanager
def delegated(uid: int, gid: int) -> Generator[tuple[str, ...]]:
    """Give an argv prefix that starts a command in groups of the user's; what is in them at the end is removed."""
    name = f"delegated-{os.urandom(6).hex()}"
    homes = find_homes()
    doors = [_give(home, home.directory / name, uid, gid) for home in homes]
    script = f'for door in {shlex.join(map(str, doors))}; do echo $$ >"$door"; done; exec "$@"'
    try:
        yield ("sh", "-c", script, "sh")
    finally:
        for home in homes:
            _remove(home.directory / name)


def _give(home: Home, group: Path, uid: int, gid: int) -> Path:
    """Make a group, and return the file by which it is entered: of v2 one below, or it could not be divided."""
    group.mkdir()
    if home.version == "v2":
        for name in home.controllers:
            (group / "cgroup.subtree_control").write_text(f"+{name}")
    inner = group / "inner" if home.version == "v2" else group
    inner.mkdir(exist_ok=True)
    for directory in (group, inner):
        for path in (directory, *directory.iterdir()):
            os.chown(path, uid, gid)
    return inner / "cgroup.procs"


def _remove(group: Path) -> None:
    for directory, _, _ in os.walk(group, topdown=False):
        for _ in range(100):
            try:
                os.rmdir(directory)
                break
            except OSError:  # what was in it has not quite ended
                time.sleep(0.05)

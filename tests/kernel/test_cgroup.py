"""Control groups by themselves: what is made, what it holds, what is left. Without a sandbox."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ci_env.pipeline.model import NO_LIMITS, Limits
from ci_env_runners.cgroup import Group, Groups
from ci_env_runners.cgroup_home import Home, find_homes
from ci_env_runners.delegation import hierarchies
from tests.processes import wait_until

MAKER = """
import sys, time
from pathlib import Path
from ci_env.pipeline.model import NO_LIMITS
from ci_env_runners.cgroup import Groups
Groups(Path(sys.argv[1])).make(NO_LIMITS)
print("made", flush=True)
time.sleep(300)
"""


pytestmark = pytest.mark.groups


def directories(store: Path) -> set[Path]:
    """Return the groups of any ci-env with this store."""
    found = os.stat(store)
    name = f"ci-env-{found.st_dev:x}.{found.st_ino:x}-*"
    return {path for home in find_homes() for path in home.directory.glob(name)}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


def test_nothing_is_left(store: Path) -> None:
    groups = Groups(store)
    group = groups.make(Limits(cpus_milli=500, memory_bytes=64 << 20, pids=10))
    assert directories(store)
    group.remove()
    groups.close()
    assert not directories(store)
    assert not list((store / "tmp").iterdir())


def enter(group: Group, process: int) -> None:
    with group.doors() as doors:
        for door in doors:
            os.write(door, str(process).encode())


def test_what_is_in_a_group_ends_with_it(store: Path) -> None:
    groups = Groups(store)
    group = groups.make(NO_LIMITS)
    with subprocess.Popen(["sleep", "300"]) as sleeper:
        enter(group, sleeper.pid)
        group.remove()
        assert sleeper.wait(5) == -9
    groups.close()


def test_what_stands_still_ends_with_its_group(store: Path) -> None:
    groups = Groups(store)
    group = groups.make(NO_LIMITS)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        enter(group, busy.pid)
        if not group.freeze(frozen=True):
            pytest.skip("no freezer")
        wait_until(lambda: _stands_still(busy.pid))
        group.remove()
        assert busy.wait(5) == -9
    groups.close()


def test_a_frozen_group_goes_on(store: Path) -> None:
    groups = Groups(store)
    group = groups.make(NO_LIMITS)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        enter(group, busy.pid)
        if group.freeze(frozen=True):
            wait_until(lambda: _stands_still(busy.pid))
            group.freeze(frozen=False)
            wait_until(lambda: not _stands_still(busy.pid))
        busy.kill()
    group.remove()
    groups.close()


def _stands_still(process: int) -> bool:
    before, after = (_ticks(process, pause) for pause in (0, 0.2))
    return before == after


def _ticks(process: int, pause: float) -> str:
    import time

    time.sleep(pause)
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11]


def test_the_next_start_removes_what_a_killed_one_has_left(store: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", MAKER, str(store)], stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "made\n"
        left = directories(store)
        assert left
        Groups(store).close()  # it lives: its groups are not touched
        assert left == directories(store)
        maker.kill()
    assert left == directories(store)
    Groups(store).close()
    assert not directories(store)


def test_the_groups_of_another_store_stay(store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    theirs = Groups(other)
    group = theirs.make(NO_LIMITS)
    made = directories(other)
    Groups(store).close()
    assert made == directories(other)
    group.remove()
    theirs.close()


@pytest.mark.root
def test_the_second_version_without_controllers(store: Path) -> None:
    """Where v1 has the controllers, v2 still kills and freezes: of it this much can be tried on such a machine."""
    second = [one for one in hierarchies() if one.version == "v2"]
    if not second:
        pytest.skip("cgroup2 is not mounted")
    home = Home("v2", second[0].own, frozenset())
    group = Group([home], f"ci-env-0.0-{os.urandom(6).hex()}-0", NO_LIMITS)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        enter(group, busy.pid)
        assert group.freeze(frozen=True)
        wait_until(lambda: _stands_still(busy.pid))
        account = group.account()
        assert account.cpu_ms is not None
        assert account.peak_memory_bytes is None
        group.remove()
        assert busy.wait(5) == -9

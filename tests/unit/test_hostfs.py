"""The fingerprint of a machine's operating system: when it changes and when it stays."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ci_env_runners.hostfs import fingerprint


@pytest.fixture
def system(tmp_path: Path) -> Path:
    for name in ("usr/bin", "usr/lib/gcc", "usr/local/bin", "etc/apt", "opt/tool", "var/lib/dpkg", "home/ana", "tmp"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "usr/bin/cc").write_text("cc")
    (tmp_path / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (tmp_path / "var/lib/dpkg/status").write_text("Package: gcc\n")
    for directory, names, _ in os.walk(tmp_path):
        for name in names:
            os.utime(Path(directory, name), (1, 1), follow_symlinks=False)
    return tmp_path


def unmerge(root: Path) -> None:
    (root / "bin").unlink()
    (root / "bin").mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "a package": lambda root: (root / "var/lib/dpkg/status").write_text("Package: g++\n"),
    "a program": lambda root: (root / "usr/bin/ld").touch(),
    "a program less": lambda root: (root / "usr/bin/cc").unlink(),
    "a library": lambda root: (root / "usr/lib/libz.so").touch(),
    "a program of the administrator": lambda root: (root / "usr/local/bin/tool").touch(),
    "something unpacked": lambda root: (root / "opt/tool/bin").mkdir(),
    "a setting": lambda root: (root / "etc/hosts").write_text("127.0.0.1 localhost other\n"),
    "a file of settings": lambda root: (root / "etc/apt/apt.conf").touch(),
    "a merged directory unmerged": unmerge,
}


@pytest.mark.parametrize("what", CHANGES)
def test_it_changes_with(system: Path, what: str) -> None:
    before = fingerprint(str(system))
    CHANGES[what](system)
    assert fingerprint(str(system)) != before


def test_it_stays_without_a_change_and_wherever_the_system_lies(system: Path, tmp_path: Path) -> None:
    before = fingerprint(str(system))
    (system / "home/ana/file").touch()
    (system / "tmp/file").touch()
    moved = tmp_path.with_name("moved")
    system.rename(moved)
    assert fingerprint(str(moved)) == before


def test_a_machine_with_nothing_has_one_too(tmp_path: Path) -> None:
    assert fingerprint(str(tmp_path)).startswith("sha256:")


def test_this_machines_own_is_the_same_twice() -> None:
    assert fingerprint() == fingerprint()


def test_what_only_some_may_read_does_not_count(system: Path) -> None:
    """No step sees it, and the fingerprint would depend on who takes it."""
    keys = system / "etc/private/keys"
    keys.mkdir(parents=True)
    os.utime(keys, (1, 1))
    before = fingerprint(str(system))
    (keys / "one").touch()
    assert fingerprint(str(system)) != before
    keys.parent.chmod(0o710)
    os.utime(keys, (1, 1))
    before = fingerprint(str(system))
    (keys / "other").touch()
    assert fingerprint(str(system)) == before

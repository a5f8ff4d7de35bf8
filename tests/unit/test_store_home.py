"""Where the store is, and which directories are refused as one."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ci_env.errors import ConfigError, HostError
from ci_env.store.home import locate, open_store

HOME = {"HOME": "/home/ann"}


@pytest.mark.parametrize(
    ("env", "uid", "expected"),
    [
        ({"CI_ENV_HOME": "/data/ci"}, 0, "/data/ci"),
        ({"CI_ENV_HOME": "/data/ci", "XDG_DATA_HOME": "/xdg", **HOME}, 1000, "/data/ci"),
        (HOME, 0, "/var/lib/ci-env"),
        ({"XDG_DATA_HOME": "/xdg"}, 0, "/var/lib/ci-env"),
        ({"XDG_DATA_HOME": "/xdg", **HOME}, 1000, "/xdg/ci-env"),
        (HOME, 1000, "/home/ann/.local/share/ci-env"),
        ({"XDG_DATA_HOME": "", **HOME}, 1000, "/home/ann/.local/share/ci-env"),
        ({"XDG_DATA_HOME": "relative", **HOME}, 1000, "/home/ann/.local/share/ci-env"),
    ],
)
def test_location(env: Mapping[str, str], uid: int, expected: str) -> None:
    assert locate(env, uid) == Path(expected)


@pytest.mark.parametrize("env", [{}, {"HOME": ""}, {"HOME": "relative"}])
def test_home_of_the_user_database(env: Mapping[str, str]) -> None:
    entry = next(entry for entry in pwd.getpwall() if entry.pw_uid)
    assert locate(env, entry.pw_uid) == Path(entry.pw_dir, ".local/share/ci-env")


@pytest.mark.parametrize("value", ["", "relative", "./store"])
def test_a_setting_that_is_no_absolute_path(value: str) -> None:
    with pytest.raises(ConfigError, match=r"CI_ENV_HOME is .*not an absolute path"):
        locate({"CI_ENV_HOME": value}, 0)


def test_a_user_without_a_home() -> None:
    with pytest.raises(HostError, match="user 3999999999 has no home") as caught:
        locate({}, 3999999999)
    assert "CI_ENV_HOME" in (caught.value.hint or "")


def test_all_directories_are_there_and_closed(tmp_path: Path) -> None:
    store = open_store(tmp_path / "new" / "store")
    for directory in (store.root, *store.directories()):
        assert directory.stat().st_mode & 0o777 == 0o700
    assert open_store(store.root) == store


def test_a_link_to_a_directory_is_resolved(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("disk")
    assert open_store(tmp_path / "link").root == tmp_path / "disk"


def test_not_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="is not a directory") as caught:
        open_store(tmp_path / "file")
    assert caught.value.hint
    with pytest.raises(HostError, match=r"cannot make the store at .*Not a directory"):
        open_store(tmp_path / "file" / "store")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(HostError, match="No such file"):
        open_store(tmp_path / "dangling")


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_open_to_others(tmp_path: Path, mode: int) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store").chmod(mode)
    with pytest.raises(HostError, match="others may write") as caught:
        open_store(tmp_path / "store")
    assert caught.value.hint == f"chmod 700 {tmp_path / 'store'}"
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.root
def test_of_another_user(tmp_path: Path) -> None:
    open_store(tmp_path / "store")
    os.chown(tmp_path / "store", 1, 1)
    with pytest.raises(HostError, match="belongs to user 1, but this is user 0"):
        open_store(tmp_path / "store")


def test_many_at_once(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from ci_env.store.home import open_store\n"
    program += "sys.stdin.read(); open_store(Path(sys.argv[1]))"
    argv = [sys.executable, "-c", program, str(tmp_path / "a" / "b" / "store")]
    processes = [subprocess.Popen(argv, stdin=subprocess.PIPE) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait(20) for process in processes] == [0] * 4

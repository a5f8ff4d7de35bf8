"""As whom ci-env is run: root, an ordinary user, and an ordinary user without subordinate ids."""

from __future__ import annotations

import functools
import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from tests.shared_directory import locked

Who = Literal["root", "user", "user-nosub"]
EVERYONE: tuple[Who, ...] = ("root", "user", "user-nosub")
USER = "ci-env-test"
_SUBORDINATE_IDS = (Path("/etc/subuid"), Path("/etc/subgid"))

# Runs in a mount namespace of its own: `$0` is an empty file.
_HIDE_SUBORDINATE_IDS = 'mount --bind "$0" /etc/subuid && mount --bind "$0" /etc/subgid && exec "$@"'


@dataclass(frozen=True)
class Account:
    who: Who
    uid: int
    gid: int
    become: tuple[str, ...]
    """argv that a command is appended to"""


def account(who: Who, shared: Path) -> Account:
    """Return the account, made where root can make it; skips the test where it cannot be had."""
    if os.geteuid() == 0:
        return Account("root", 0, 0, ()) if who == "root" else _unprivileged(who, shared)
    if who != ("user" if _has_subordinate_ids() else "user-nosub"):
        pytest.skip(f"only root can run tests as {who}")
    return Account(who, os.getuid(), os.getgid(), ())


def _unprivileged(who: Who, shared: Path) -> Account:
    entry = _test_user()
    become: tuple[str, ...] = (
        "setpriv",
        f"--reuid={entry.pw_uid}",
        f"--regid={entry.pw_gid}",
        "--clear-groups",
        "--inh-caps=-all",
    )
    if who == "user-nosub":
        empty = shared / "empty"
        os.close(os.open(empty, os.O_CREAT, 0o644))  # not touched: the fingerprint of /etc sees its time
        become = ("unshare", "--mount", "sh", "-c", _HIDE_SUBORDINATE_IDS, str(empty), *become)
    return Account(who, entry.pw_uid, entry.pw_gid, become)


@functools.cache
def _test_user() -> pwd.struct_passwd:
    """Find or make the user. It stays: the ids of its files would otherwise go to whoever comes next."""
    with locked(Path("/run/ci-env-tests.lock")):
        try:
            return pwd.getpwnam(USER)
        except KeyError:
            for file in _SUBORDINATE_IDS:
                file.touch(mode=0o644)  # useradd gives ids only where the files exist
            subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", USER], check=True, timeout=30)
            return pwd.getpwnam(USER)


def _has_subordinate_ids() -> bool:
    name = pwd.getpwuid(os.getuid()).pw_name
    return all(file.exists() and f"{name}:" in file.read_text() for file in _SUBORDINATE_IDS)

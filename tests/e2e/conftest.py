"""The installed ci-env as a process, run by root, by an ordinary user, and by one without subordinate ids."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.account import EVERYONE, Who, account
from tests.installed import CiEnv, Installed


@pytest.fixture
def ci_env(installed: Installed, shared: Path) -> Generator[Callable[[Who], CiEnv]]:
    """Give a function that gives ci-env as run by an account, with a new store; removed after the test."""
    made: list[CiEnv] = []

    def give(who: Who) -> CiEnv:
        as_whom = account(who, shared)
        home = _new_home(shared, as_whom.uid, as_whom.gid)
        made.append(CiEnv(as_whom, installed.program, home))
        return made[-1]

    yield give
    for used in made:
        _remove(used)


@pytest.fixture(params=EVERYONE)
def actor(request: pytest.FixtureRequest, ci_env: Callable[[Who], CiEnv]) -> CiEnv:
    """Run the test once for each account."""
    return ci_env(request.param)


def _new_home(shared: Path, uid: int, gid: int) -> Path:
    home = shared / f"home-{os.urandom(6).hex()}"
    home.mkdir(mode=0o700)
    os.chown(home, uid, gid)
    return home


def _remove(used: CiEnv) -> None:
    """Remove the home; an ordinary user's holds files of its subordinate ids, which only a user namespace removes."""
    plain = os.geteuid() == 0 or used.account.who == "user-nosub"
    namespace = () if plain else ("unshare", "--map-root-user", "--map-auto")
    subprocess.run([*namespace, "rm", "-rf", str(used.home)], check=True, timeout=120)

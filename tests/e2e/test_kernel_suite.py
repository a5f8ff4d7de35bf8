"""The kernel tests again, by an ordinary user, and by one without subordinate ids."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from tests.account import Who
from tests.delegated import delegated
from tests.installed import REPOSITORY, CiEnv, Installed


@pytest.mark.root
@pytest.mark.timeout(960)
@pytest.mark.parametrize("who", ["user", "user-nosub"])
def test_kernel_tests_pass(ci_env: Callable[[Who], CiEnv], installed: Installed, who: Who) -> None:
    theirs = ci_env(who)
    shutil.copytree(REPOSITORY / "tests", theirs.home / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", theirs.home)
    theirs.own(theirs.home)
    has_groups = who == "user"  # the other one shows what becomes of limits without
    chosen = "not root" if has_groups else "not root and not groups"
    argv = [str(installed.python), "-m", "pytest", "tests/kernel", "-m", chosen, "-p", "no:cacheprovider"]
    with delegated(theirs.account.uid, theirs.account.gid) if has_groups else nullcontext(()) as into_groups:
        done = subprocess.run(
            [*into_groups, *theirs.account.become, *argv, f"--basetemp={theirs.home}/basetemp"],
            cwd=theirs.home,
            env=theirs.environment({"CI_ENV_MUST_RUN": os.environ.get("CI_ENV_MUST_RUN", "")}),
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
    assert done.returncode == 0, done.stdout + done.stderr

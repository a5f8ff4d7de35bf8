"""The kernel tests again, by an ordinary user, and by one without subordinate ids."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

import pytest

from tests.account import Who
from tests.installed import REPOSITORY, CiEnv, Installed


@pytest.mark.root
@pytest.mark.timeout(960)
@pytest.mark.parametrize("who", ["user", "user-nosub"])
def test_kernel_tests_pass(ci_env: Callable[[Who], CiEnv], installed: Installed, who: Who) -> None:
    theirs = ci_env(who)
    shutil.copytree(REPOSITORY / "tests", theirs.home / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", theirs.home)
    theirs.own(theirs.home)
    argv = [str(installed.python), "-m", "pytest", "tests/kernel", "-m", "not root", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*theirs.account.become, *argv, f"--basetemp={theirs.home}/basetemp"],
        cwd=theirs.home,
        env=theirs.environment({"CI_ENV_MUST_RUN": os.environ.get("CI_ENV_MUST_RUN", "")}),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr

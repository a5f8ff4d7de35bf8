"""The README's one-line start, as written, on a copy of the project as a newcomer gets it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.installed import REPOSITORY, CiEnv

README = (REPOSITORY / "README.md").read_text()


def the_command() -> str:
    """Return the only line that makes a virtual environment and runs the quickstart in it."""
    (command,) = re.finditer(r"^\s*(python3 -m venv .* run -f examples/quickstart/ci-env\.yml)$", README, re.MULTILINE)
    return command[1]


@pytest.fixture
def checkout(actor: CiEnv) -> Path:
    """Give a new git repository of the account with every file that git would keep of this one."""
    root = actor.home / "ci-env"
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60)
    for name in filter(None, done.stdout.split("\0")):
        if (REPOSITORY / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, root / name)
    actor.own(root)
    actor.git(root, "init", "--quiet", "--initial-branch=main")
    actor.commit(root)
    return root


def test_quickstart(actor: CiEnv, checkout: Path) -> None:
    command = the_command()
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name.endswith("_proxy")}
    env = actor.environment(pip)
    first = subprocess.run(
        [*actor.account.become, "sh", "-c", command],
        cwd=checkout,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert first.returncode == 0, first.stdout + first.stderr

    again = command.rpartition("&& ")[2].split()
    second = subprocess.run(
        [*actor.account.become, *again, "--format", "json"],
        cwd=checkout,
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    events = [json.loads(line) for line in (second.stdout + second.stderr).splitlines()]
    statuses = [event["status"] for event in events if event["event"] == "StepFinished"]
    assert len(statuses) >= 3
    assert set(statuses) == {"cached"}


def test_the_other_command_is_there() -> None:
    assert re.search(r"^\s*scripts/test$", README, re.MULTILINE)
    assert os.access(REPOSITORY / "scripts/test", os.X_OK)

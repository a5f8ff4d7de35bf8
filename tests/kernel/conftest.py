"""Fixtures of the runner's tests."""

from __future__ import annotations

import random
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

from ci_env_runners.cgroup_home import find_homes
from ci_env_runners.delegation import CONTROLLERS
from tests.sandboxes import Place, new_place


@pytest.fixture
def place(tmp_path: Path) -> Generator[Place]:
    """Give a store with a runner."""
    with new_place(tmp_path / "store") as made:
        yield made


@pytest.fixture(autouse=True)
def _groups(request: pytest.FixtureRequest) -> None:
    """Skip tests that are marked `groups` where this process may make none."""
    if request.node.get_closest_marker("groups"):
        missing = set(CONTROLLERS) - {name for home in find_homes() for name in home.controllers}
        if missing:
            pytest.skip(f"needs a delegated control group with {', '.join(sorted(missing))}")


@pytest.fixture
def image(place: Place) -> Path:
    """Give a layer that is a small image of its own: busybox and nothing else."""
    layer = place.layer()
    (layer / "root/bin").mkdir()
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("needs a static busybox (Debian package busybox-static)")
    shutil.copy(busybox, layer / "root/bin/busybox")
    for name in ("sh", "ls", "cat", "stat", "rm", "mkdir", "touch", "id", "echo", "mv", "chown", "env"):
        (layer / "root/bin" / name).symlink_to("busybox")
    return layer


@pytest.fixture
def nap() -> str:
    """Give a command that takes long and that no other test has, by whoever it is run at the same time."""
    return f"sleep {random.randrange(10**8, 10**9)}"

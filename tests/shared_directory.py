"""A directory that all processes and users of one test run share: made by the first, found through the environment."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

SHARED = "CI_ENV_TESTS_SHARED"


def new_shared_directory() -> Path:
    """Make a directory that every user can look into, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="ci-env-tests-"))
    path.chmod(0o755)
    return path


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold `path` against the other workers while inside the block."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

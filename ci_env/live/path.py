"""Where the door of a run is. A socket's name may not be long (unix(7)), so its directory is named by a descriptor."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

NAME = "door"


@contextmanager
def address(directory: Path) -> Generator[str]:
    """Give a name for the socket in a run's directory, as long as the block goes on."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)

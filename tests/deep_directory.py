"""Directories in each other, deeper than Python recurses and than a path may be long."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


def deepen(top: int, levels: int, name: str = "d") -> int:
    """Make directories below the descriptor `top`, which is closed; return that of the lowest."""
    for _ in range(levels):
        os.mkdir(name, dir_fd=top)
        below = os.open(name, os.O_RDONLY, dir_fd=top)
        os.close(top)
        top = below
    return top


@contextmanager
def deep(top: Path, levels: int, name: str = "d") -> Generator[None]:
    """Have them below `top` inside the block; they are too deep for pytest to remove, which would hide what it says."""
    os.close(deepen(os.open(top, os.O_RDONLY), levels, name))
    try:
        yield
    finally:
        subprocess.run(["rm", "-rf", top / name], check=True, timeout=60)

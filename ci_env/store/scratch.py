"""Scratch directories of runs: `tmp/RUN/`, alive while `tmp/RUN.lock` is held. Must not rely on process ids."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from ci_env.files import explained
from ci_env.store.home import Store
from ci_env.store.locks import exclusive

_LOCK = ".lock"


@contextmanager
def scratch(store: Store, run_id: str, remove: Callable[[Path], None]) -> Generator[Path]:
    """Give a directory in the store; `remove` removes it when the block ends, or `reap` after a crash."""
    directory = store.tmp / run_id
    has_begun = False
    try:
        with exclusive(_lock_of(directory), wait=True):
            try:
                has_begun = True
                with explained("make", directory):
                    directory.mkdir(mode=0o700)
                yield directory
            finally:
                _remove(directory, remove)
    finally:
        if not has_begun:  # interrupted while the lock was being made, which nobody else knows
            _lock_of(directory).unlink(missing_ok=True)


def reap(store: Store, discard: Callable[[Path], None]) -> None:
    """Remove, by `discard`, the scratch of runs that ended without doing so."""
    with explained("read", store.tmp):
        names = {name.removesuffix(_LOCK) for name in os.listdir(store.tmp)}
    for directory in sorted(store.tmp / name for name in names):
        with exclusive(_lock_of(directory), wait=False) as is_left:
            if is_left:
                _remove(directory, discard)


def _remove(directory: Path, remove: Callable[[Path], None]) -> None:
    """Remove directory and lock while the lock is held: whoever waits for it looks again (locks.py)."""
    if os.path.lexists(directory):
        remove(directory)
    with explained("remove", _lock_of(directory)):
        _lock_of(directory).unlink(missing_ok=True)


def _lock_of(directory: Path) -> Path:
    return directory.with_name(directory.name + _LOCK)

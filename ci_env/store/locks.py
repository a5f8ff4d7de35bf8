"""Locks between processes, by flock(2): they end with their holder, however it ends. Must not know what they protect.

A lock is a file, which its exclusive holder may unlink; so whoever obtains one looks whether it still is the file at
that path, and else begins again.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ci_env.errors import HostError
from ci_env.files import explained

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def exclusive(path: Path, *, wait: bool) -> Generator[bool]:
    """Hold the lock `path` alone inside the block; yield False where it is not obtained, without `wait` only.

    Waiting has no limit, but a holder that dies lets go. Not re-entrant: a thread that holds it would wait for itself.
    """
    with _held(path, fcntl.LOCK_EX, wait=wait) as is_held_here:
        yield is_held_here


@contextmanager
def shared(path: Path) -> Generator[None]:
    """Hold the lock `path` together with others inside the block; wait for an exclusive holder."""
    with _held(path, fcntl.LOCK_SH, wait=True):
        yield


def is_held(path: Path) -> bool:
    """Tell whether anybody holds the lock `path` alone. The answer may be old when it is read."""
    with explained("look at the lock", path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


@contextmanager
def _held(path: Path, operation: int, *, wait: bool) -> Generator[bool]:
    with explained("lock", path):  # not the block: its errors are its own
        descriptor = _obtain(path, operation if wait else operation | fcntl.LOCK_NB)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _obtain(path: Path, operation: int) -> int | None:
    """Return a descriptor that holds the lock until it is closed; None: somebody else holds it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if not _lock(descriptor, operation, path):
                os.close(descriptor)
                return None
            if _is_still_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, operation: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise HostError(
            f"the filesystem of {path} has no locks: {os.strerror(error.errno)}",
            hint="point CI_ENV_HOME at a directory on a local disk",
        ) from error
    return True


def _is_still_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False

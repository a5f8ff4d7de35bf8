"""Who uses which object of the store, and when one was used last. Must not know what the objects are.

Each digest is one byte of the file `locks/uses`, and using an object is a shared lock of its byte: an open file
description lock (fcntl(2)), so that a command holds any number of them by one descriptor and they end with it, however
it ends. Whoever removes an object locks its byte alone, without waiting, and lets go once its name is gone. So what is
found after `hold` stays until the command ends. The last use is a file's mtime, renewed at most once an hour: finding
something costs a run some 5 microseconds, and mostly no write (docs/adr/0014).
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from ci_env.digest import Digest
from ci_env.errors import HostError
from ci_env.files import explained
from ci_env.store.home import Store
from ci_env.store.locks import NO_LOCKS

_HEX_DIGITS = 15  # 60 bits: a file offset, and no two objects share it by chance
_RENEWED_AFTER_S = 3600


class Uses:
    """What one command uses. Safe to use from several threads: they are one user."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path
        self._held: set[Digest] = set()

    def hold(self, digest: Digest) -> None:
        """Keep others from removing the object, there or not, until this command ends; wait for one who does so now."""
        if digest not in self._held:
            self._lock(fcntl.F_OFD_SETLKW, fcntl.F_RDLCK, digest)
            self._held.add(digest)

    def claim(self, digest: Digest) -> bool:
        """Return whether nobody else uses the object; then nobody can, until `release`."""
        try:
            self._lock(fcntl.F_OFD_SETLK, fcntl.F_WRLCK, digest)
        except BlockingIOError:
            return False
        return True

    def release(self, digest: Digest) -> None:
        """Give back a claim."""
        self._lock(fcntl.F_OFD_SETLK, fcntl.F_UNLCK, digest)

    def _lock(self, command: int, kind: int, digest: Digest) -> None:
        start = int(digest.hex[:_HEX_DIGITS], 16)
        try:
            fcntl.fcntl(self._descriptor, command, struct.pack("hhqqi4x", kind, os.SEEK_SET, start, 1, 0))
        except BlockingIOError:
            raise
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            if error.errno in NO_LOCKS:
                message, hint = f"the filesystem of {self._path} has no locks: {reason}", "a directory on a local disk"
                raise HostError(message, hint=f"point CI_ENV_HOME at {hint}") from error
            raise HostError(f"cannot lock {self._path}: {reason}") from error


@contextmanager
def using(store: Store) -> Generator[Uses]:
    """Give the uses of one command; they end with the block."""
    path = store.locks / "uses"
    with explained("open", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield Uses(descriptor, path)
    finally:
        os.close(descriptor)


def note_use(path: Path, last_use: float) -> None:
    """Have the file say that it was used now; `last_use` is its mtime. One in the future, after a clock jump, counts as
    old.
    """
    if abs(time.time() - last_use) > _RENEWED_AFTER_S:
        with suppress(FileNotFoundError):  # removed meanwhile: its user will see
            os.utime(path)

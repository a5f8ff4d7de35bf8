"""Content by its digest. Owns `blobs/`; must not know what the content means.

What stands there has been verified: it was written here and hashed, or whoever adopts it has hashed it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from ci_env.digest import Digest
from ci_env.errors import IntegrityError
from ci_env.files import atomic_write, explained, sync_directory
from ci_env.store.home import Store
from ci_env.store.uses import Uses

_MODE = 0o400


class Blobs:
    """Safe to use from several threads and processes; who comes second finds it done.

    With `uses`, a blob that was looked for or written stays until those end.
    """

    def __init__(self, store: Store, uses: Uses | None = None) -> None:
        self._root = store.blobs
        self._uses = uses

    def path(self, digest: Digest) -> Path:
        """Return where the blob is, or would be. Not to be written to."""
        return self._root / digest.algorithm / digest.hex

    def has(self, digest: Digest) -> bool:
        """Tell whether the blob is there, its content unseen."""
        self._hold(digest)
        return self.path(digest).is_file()

    def put(self, content: bytes) -> Digest:
        """Keep `content`, also across a power cut; return its digest."""
        digest = Digest.of(content)
        self._hold(digest)
        with explained("write", self.path(digest)):
            if not self._has_size(digest, len(content)):
                atomic_write(self.path(digest), content, mode=_MODE)
        return digest

    def adopt(self, file: Path, digest: Digest) -> None:
        """Take over `file`, a finished one on the store's filesystem whose content the caller has hashed, by rename."""
        path = self.path(digest)
        self._hold(digest)
        with explained("write", path):
            if self._has_size(digest, file.stat().st_size):
                file.unlink()
                return
            path.parent.mkdir(mode=0o700, exist_ok=True)
            _seal(file)
            os.rename(file, path)
            sync_directory(path.parent)

    def open(self, digest: Digest) -> BinaryIO:
        """Return the blob, for reading, the caller's to close; IntegrityError if it is not there.

        Its content is not verified: that takes reading it to its end.
        """
        self._hold(digest)
        with explained("read", self.path(digest)):
            try:
                return open(self.path(digest), "rb")
            except FileNotFoundError as error:
                raise _missing(digest) from error

    def read(self, digest: Digest) -> bytes:
        """Return the blob's content, verified. IntegrityError if it is not there or damaged; then it is dropped."""
        with self.open(digest) as file, explained("read", self.path(digest)):
            content = file.read()
        if hashlib.new(digest.algorithm, content).hexdigest() != digest.hex:
            with explained("drop", self.path(digest)):
                self.path(digest).unlink(missing_ok=True)
            raise IntegrityError(
                f"{self.path(digest)} was damaged: its content does not have its digest",
                hint="it was dropped; do again what made it (--no-cache), and check the disk",
            )
        return content

    def _hold(self, digest: Digest) -> None:
        if self._uses is not None:
            self._uses.hold(digest)

    def _has_size(self, digest: Digest, size: int) -> bool:
        """Tell whether the blob is there and not cut short: what a crash or a full disk would leave."""
        try:
            return self.path(digest).stat().st_size == size
        except FileNotFoundError:
            return False


def _seal(file: Path) -> None:
    """Make `file` durable and read-only."""
    with open(file, "rb") as opened:
        os.fchmod(opened.fileno(), _MODE)
        os.fsync(opened.fileno())


def _missing(digest: Digest) -> IntegrityError:
    return IntegrityError(f"{digest} is not in the store", hint="it was removed; do again what made it (--no-cache)")

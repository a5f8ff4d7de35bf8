"""Digest and size checks of content on its way through. Owns no file and no connection."""

from __future__ import annotations

import hashlib
from typing import Protocol

from ci_env.digest import Digest
from ci_env.errors import IntegrityError


class Reader(Protocol):
    """Content as it comes."""

    def read(self, size: int, /) -> bytes:
        """Return 1 to `size` bytes; none at the end, and only there."""
        ...


class VerifyingReader:
    """Passes content on that has the given digest and size; raises IntegrityError instead of its end if it has not.

    The last piece is held back until the digest is known to match, so a consumer that stops after `size` bytes without
    asking for the end is safe too. Never reads more than one byte beyond `size`. `source` stays the caller's.
    """

    def __init__(self, source: Reader, digest: Digest, size: int, *, what: str) -> None:
        self._source = source
        self._digest = digest
        self._left = size
        self._size = size
        self._what = what
        self._hash = hashlib.new(digest.algorithm)
        self.failed = False
        """the content is not what it should be"""
        if size == 0:
            self._check_digest()

    def read(self, size: int, /) -> bytes:
        """Return 1 to `size` bytes; none at the end."""
        if self._left == 0:
            self._check_end()
            return b""
        piece = self._source.read(min(size, self._left))
        if not piece:
            self._fail(f"ends after {self._size - self._left} of {self._size} bytes")
        self._hash.update(piece)
        self._left -= len(piece)
        if self._left == 0:
            self._check_digest()
        return piece

    def _check_end(self) -> None:
        if self._source.read(1):
            self._fail(f"is longer than the {self._size} bytes it should have")

    def _check_digest(self) -> None:
        if self._hash.hexdigest() != self._digest.hex:
            self._fail(f"has digest {self._digest.algorithm}:{self._hash.hexdigest()}")

    def _fail(self, finding: str) -> None:
        self.failed = True
        raise IntegrityError(
            f"{self._what} {finding}, but {self._digest} was promised",
            hint="the content was changed or damaged on its way; try again, and if it persists, push it again",
        )


def read_all(source: Reader, *, limit: int) -> bytes:
    """Return everything up to the end, or the first `limit` bytes."""
    pieces: list[bytes] = []
    while limit > 0 and (piece := source.read(min(limit, 2**20))):
        pieces.append(piece)
        limit -= len(piece)
    return b"".join(pieces)

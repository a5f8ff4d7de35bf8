"""Pieces of content as something to read from. Owns nothing."""

from __future__ import annotations

from collections.abc import Iterator


class Pieces:
    """Reads from pieces as they come. Implements verify.Reader."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """Return 1 to `size` bytes; none at the end."""
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._piece = memoryview(piece)
        taken, self._piece = self._piece[:size], self._piece[size:]
        return bytes(taken)

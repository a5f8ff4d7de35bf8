"""The stream that a view writes to. A reader that went away must not end the run."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TextIO


class Sink:
    """Writes through to `stream`, which stays the caller's, until it fails; then keeps the error and writes no more.

    Has what rich asks of a file, too. Not locked: each view writes under its own lock.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str, /) -> int:
        """Write and flush; never raises OSError."""
        if self.error is None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except OSError as error:
                self.error = error
                self._turn_away()
        return len(text)

    def flush(self) -> None:
        """Do nothing: every write has been flushed."""

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        return self._stream.encoding or "utf-8"

    def _turn_away(self) -> None:
        """Send what the stream still holds nowhere: the interpreter flushes it at its end and would complain."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.dup2(nowhere, self._stream.fileno())
            finally:
                os.close(nowhere)

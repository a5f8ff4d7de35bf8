"""Content that is read before it is wanted, in a thread of its own. Knows not what it is, nor where it comes from."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import AbstractContextManager

from ci_env.oci.verify import Reader

_PIECE = 2**17


class ReadAhead:
    """Reads what `opened` gives until `limit` bytes wait here, and goes on as they are taken.

    A context manager: leaving it stops the thread after the piece that it reads, and waits for no network. What opening
    or reading raises is raised by `read`.
    """

    def __init__(self, opened: AbstractContextManager[Reader], *, limit: int) -> None:
        self._opened = opened
        self._limit = limit
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        """bytes in them"""
        self._error: BaseException | None = None
        self._is_over = False
        self._is_wanted = True
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)

    def __enter__(self) -> ReadAhead:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Have the rest not read; nobody reads here any more."""
        with self._changed:
            self._is_wanted = False
            self._pieces.clear()
            self._changed.notify_all()

    def read(self, size: int, /) -> bytes:
        """Return 1 to `size` bytes; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._pieces or self._is_over)
            if not self._pieces:
                if self._error is not None:
                    raise self._error
                return b""
            piece = self._pieces.popleft()
            if len(piece) > size:
                self._pieces.appendleft(piece[size:])
                piece = piece[:size]
            self._waiting -= len(piece)
            self._changed.notify_all()
            return piece

    def _run(self) -> None:
        try:
            with self._opened as source:
                while self._has_room() and (piece := source.read(_PIECE)):
                    self._put(piece)
        except BaseException as error:  # raised again where the content is read
            self._error = error
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _has_room(self) -> bool:
        """Wait until there is; return whether anybody still wants the rest."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting < self._limit or not self._is_wanted)
            return self._is_wanted

    def _put(self, piece: bytes) -> None:
        with self._changed:
            if self._is_wanted:
                self._pieces.append(piece)
                self._waiting += len(piece)
                self._changed.notify_all()

"""What a step writes: to a file as it comes, to its readers line by line. Memory stays bounded whatever the step does.

Secrets are masked before anything else is done with what it writes. A line is cut after 64 KiB, and of what comes after
64 MiB only the last lines are kept; each says so. The file holds what the readers got, but for its bytes being those of
the step: no decoding.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.digest import Digest
from ci_env.files import explained

if TYPE_CHECKING:
    from typing import Self

    from ci_env.mask import Mask

MAX_LINE_BYTES = 2**16
MAX_LOG_BYTES = 2**26
_TAIL_LINES = 12
_LAST_LINES = 100
"""what is kept of a log that is too long, since a failure shows at the end"""


class StepLog:
    """Takes output in pieces. `tell` gets each line without its newline, in the thread that feeds.

    A context manager, for the file to be closed if the block raises; a log that is whole is ended by `close`.
    """

    def __init__(self, path: Path, tell: Callable[[str], None], mask: Mask | None = None) -> None:
        self._path = path
        self._tell = tell
        self._masking = mask.stream() if mask else None
        with explained("write", path):
            self._file = open(path, "xb", buffering=0)  # noqa: SIM115  # closed by `close`, or `__exit__`
        self._hash = hashlib.sha256()
        self._written = 0
        self._line = bytearray()
        self._pending = bytearray()
        self._dropped = 0
        self._is_full = False
        self._last: deque[tuple[bytes, bytes]] = deque(maxlen=_LAST_LINES)
        """of what came once it was full"""
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def feed(self, piece: bytes) -> None:
        """Take what the step has just written. HostError where there is no space for it."""
        self._take(self._masking.feed(piece) if self._masking else piece)

    def _take(self, piece: bytes) -> None:
        *lines, rest = piece.split(b"\n")
        for line in lines:
            self._grow(line)
            self._end_line(b"\n")
        self._grow(rest)
        self._write()

    def close(self) -> Digest:
        """End the log, and return its digest."""
        if self._masking:
            self._take(self._masking.close())
        if self._line or self._dropped:
            self._end_line(b"")
        for line, newline in self._last:
            self._keep(line, newline)
        self._write()
        self._file.close()
        return Digest(f"sha256:{self._hash.hexdigest()}")

    def tail(self) -> tuple[str, ...]:
        """Return its last lines."""
        return tuple(self._tail)

    def _grow(self, part: bytes) -> None:
        room = MAX_LINE_BYTES - len(self._line)
        self._line += part[:room]
        self._dropped += max(len(part) - room, 0)

    def _end_line(self, newline: bytes) -> None:
        if self._dropped:
            self._line += f" [ci-env: {self._dropped} more bytes of this line are not kept]".encode()
        self._put(bytes(self._line), newline)
        self._line.clear()
        self._dropped = 0

    def _put(self, line: bytes, newline: bytes) -> None:
        if not self._is_full and self._written + len(line) > MAX_LOG_BYTES:
            self._is_full = True
            notice = f"[ci-env: output beyond {MAX_LOG_BYTES >> 20} MiB is not kept, but for its last lines]"
            self._keep(notice.encode(), b"\n")
        if self._is_full:
            self._last.append((line, newline))
        else:
            self._keep(line, newline)

    def _keep(self, line: bytes, newline: bytes) -> None:
        self._pending += line + newline
        self._written += len(line) + len(newline)
        text = line.decode(errors="replace")
        self._tail.append(text)
        self._tell(text)

    def _write(self) -> None:
        """Write what has come since the last time."""
        content, self._pending = bytes(self._pending), bytearray()
        self._hash.update(content)
        view = memoryview(content)
        with explained("write", self._path):
            while view:
                view = view[os.write(self._file.fileno(), view) :]

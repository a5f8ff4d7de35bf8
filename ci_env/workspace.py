"""Files laid below a directory, the same way on every machine: modes, times, links. Owns no content.

Umask, clock and order of arrival leave no trace: files are 0644 or 0755, directories 0755, all times the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from ci_env.errors import IntegrityError
from ci_env.tree import Entry, encode_path

_FORBIDDEN = {b"", b".", b"..", b".git"}


def make_directories(top: bytes, entries: Sequence[Entry]) -> tuple[bytes, ...]:
    """Make `top` and every directory that `entries` need; return them, the inner before the outer.

    All of them before the first link: so nothing is ever written through one, whatever a crafted tree holds.
    """
    needed = {top}
    for entry in entries:
        path = _place(top, entry)
        needed.update(_between(top, path if entry.mode == 0o160000 else os.path.dirname(path)))
    outer_first = sorted(needed)
    for path in outer_first:
        os.mkdir(path)
        os.chmod(path, 0o755)  # noqa: S103  # as a checkout's; the store around it is closed to others
    return tuple(reversed(outer_first))


def lay(top: bytes, entry: Entry, content: Iterable[bytes], *, epoch: int) -> None:
    """Make the file or link that `entry` is. FileExistsError where something has its name."""
    path = _place(top, entry)
    if entry.mode == 0o120000:
        os.symlink(b"".join(content), path)
        date(path, epoch)
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb", buffering=0) as file:
        for piece in content:
            _write_all(file.fileno(), piece)
        os.fchmod(descriptor, entry.mode & 0o777)
        os.utime(descriptor, (epoch, epoch))


def date(path: bytes, epoch: int) -> None:
    """Set the times of what is at `path`, be it a link; of a directory only after its last entry was made."""
    os.utime(path, (epoch, epoch), follow_symlinks=False)


def _place(top: bytes, entry: Entry) -> bytes:
    path = encode_path(entry.path)
    if not _FORBIDDEN.isdisjoint(path.split(b"/")):
        raise IntegrityError(f"the source holds a file that no checkout could have: {entry.path!r}")
    return top + b"/" + path


def _between(top: bytes, path: bytes) -> Iterable[bytes]:
    while len(path) > len(top):
        yield path
        path = os.path.dirname(path)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]

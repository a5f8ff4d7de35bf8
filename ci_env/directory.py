"""A plain directory as a source: its listing, and its content again. Used where there is no git work tree.

Everything counts but `.git`, whatever it is; sockets, FIFOs and devices are left out with a note. Directories count by
the files in them, as in git: an empty one does not exist.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from ci_env.errors import ConfigError
from ci_env.events import Emit, Note
from ci_env.tree import Entry, decode_path, encode_path, in_order

_CHUNK = 1 << 20
_REPLACED = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL}
"""how opening a file or reading a link ends once something of another kind, or nothing, has its name"""


def capture(root: Path, emit: Emit, *, left_out: Path) -> tuple[Entry, ...]:
    """Return the files below `root` by content, but not those below `left_out`.

    ConfigError names the file that cannot be read.
    """
    top = os.fsencode(root)
    with _explained(root):
        found = (_entry(file, os.path.relpath(file.path, top), emit) for file in _walk(top, os.fsencode(left_out)))
        return in_order(entry for entry in found if entry)


def contents(root: Path, entry: Entry) -> Iterator[bytes]:
    """Yield what `entry` holds, in pieces; ConfigError after the last one if that is not what was captured."""
    path = os.path.join(os.fsencode(root), encode_path(entry.path))
    digest = hashlib.sha256()
    with _explained(root):
        for piece in _target(path) if entry.mode == 0o120000 else _pieces(path):
            digest.update(piece)
            yield piece
    if digest.hexdigest() != entry.blob:
        raise _changed(os.fsdecode(path))


def _walk(top: bytes, left_out: bytes) -> Iterator[os.DirEntry[bytes]]:
    pending = [top]
    while pending:
        with os.scandir(pending.pop()) as found:
            for file in found:
                if file.name == b".git" or file.path == left_out:
                    continue
                if file.is_dir(follow_symlinks=False):
                    pending.append(file.path)
                else:
                    yield file


def _entry(file: os.DirEntry[bytes], path: bytes, emit: Emit) -> Entry | None:
    if file.is_symlink():
        return Entry(decode_path(path), 0o120000, hashlib.sha256(os.readlink(file.path)).hexdigest())
    mode = file.stat(follow_symlinks=False).st_mode
    if not stat.S_ISREG(mode):
        emit(Note("warning", f"{os.fsdecode(file.path)} is neither file, directory nor link, and is left out"))
        return None
    digest = hashlib.sha256()
    for piece in _pieces(file.path):
        digest.update(piece)
    return Entry(decode_path(path), 0o100755 if mode & 0o100 else 0o100644, digest.hexdigest())


def _target(path: bytes) -> Iterator[bytes]:
    yield os.readlink(path)


def _pieces(path: bytes) -> Iterator[bytes]:
    """Yield the file's content. Never waits for, nor reads, what took its place: not a FIFO, not a link's target."""
    with open(path, "rb", buffering=0, opener=_open) as file:
        while piece := file.read(_CHUNK):
            yield piece


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


@contextmanager
def _explained(root: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        path = os.fsdecode(error.filename or root)
        if error.errno in _REPLACED:
            raise _changed(path) from error
        message = f"cannot read {path}, which is part of the source: {error.strerror}"
        raise ConfigError(message, hint="make it readable, or move it out of the directory") from error


def _changed(path: str) -> ConfigError:
    return ConfigError(f"{path} changed while it was being read", hint="run again when nothing writes to it")

"""A plain directory as a source: its listing, and its content again. Used where there is no git work tree.

Everything counts but `.git`, whatever it is; sockets, FIFOs and devices are left out with a note. Directories count by
the files in them, as in git: an empty one does not exist.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from ci_env.beneath import REPLACED, listed, open_file, read_link
from ci_env.errors import ConfigError
from ci_env.events import Emit, Note
from ci_env.tree import Entry, decode_path, encode_path, in_order

_CHUNK = 1 << 20


def capture(root: Path, emit: Emit, *, left_out: Path) -> tuple[Entry, ...]:
    """Return the files below `root` by content, but not those below `left_out`.

    ConfigError names the file that cannot be read.
    """
    top = os.fsencode(root)
    with _explained(root):
        return in_order(_walk(top, os.fsencode(left_out), emit))


def contents(root: Path, entry: Entry) -> Iterator[bytes]:
    """Yield what `entry` holds, in pieces; ConfigError after the last one if that is not what was captured."""
    top, path = os.fsencode(root), b"/" + encode_path(entry.path)
    digest = hashlib.sha256()
    with _explained(root):
        for piece in (read_link(top, path),) if entry.mode == 0o120000 else _pieces(top, path):
            digest.update(piece)
            yield piece
    if digest.hexdigest() != entry.blob:
        raise _changed(os.fsdecode(top + path))


def _walk(top: bytes, left_out: bytes, emit: Emit) -> Iterator[Entry]:
    pending = [b""]
    while pending:
        directory = pending.pop()
        for name, facts, link in listed(top, directory):
            path = directory + b"/" + name
            if name == b".git" or top + path == left_out:
                continue
            if stat.S_ISDIR(facts.st_mode):
                pending.append(path)
            elif stat.S_ISLNK(facts.st_mode):
                yield Entry(decode_path(path[1:]), 0o120000, hashlib.sha256(link).hexdigest())
            elif stat.S_ISREG(facts.st_mode):
                yield Entry(decode_path(path[1:]), 0o100755 if facts.st_mode & 0o100 else 0o100644, _digest(top, path))
            else:
                what = os.fsdecode(top + path)
                emit(Note("warning", f"{what} is neither file, directory nor link, and is left out"))


def _digest(top: bytes, path: bytes) -> str:
    digest = hashlib.sha256()
    for piece in _pieces(top, path):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(top: bytes, path: bytes) -> Iterator[bytes]:
    """Yield the file's content. Never waits for, nor reads, what took its place: not a FIFO, not a link's target."""
    with open(open_file(top, path), "rb", buffering=0) as file:
        while piece := file.read(_CHUNK):
            yield piece


@contextmanager
def _explained(root: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        path = os.fsdecode(error.filename or root)
        if error.errno in REPLACED:
            raise _changed(path) from error
        message = f"cannot read {path}, which is part of the source: {error.strerror}"
        raise ConfigError(message, hint="make it readable, or move it out of the directory") from error


def _changed(path: str) -> ConfigError:
    return ConfigError(f"{path} changed while it was being read", hint="run again when nothing writes to it")

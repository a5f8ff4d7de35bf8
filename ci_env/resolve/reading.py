"""The files of a build's context on disk: what is there, and their content. Owns that no name leads out of it.

Directories are opened one in another, and none that is a symlink is followed, so what is put in their place meanwhile
is not read: who builds may read more than who can write to the context.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from ci_env.errors import ConfigError
from ci_env.events import Emit, Note
from ci_env.frozen import dataclass

_PIECE = 1 << 20
_MAX_DEPTH = 512  # as in images, merged.py
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_REPLACED = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL}


class Ignoring(Protocol):
    """What a .dockerignore file says."""

    def is_ignored(self, path: str, /) -> bool:
        """Tell whether a file or directory is left out."""
        ...

    @property
    def has_exceptions(self) -> bool:
        """Tell whether a directory that is left out may have files in it that are not."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    mode: int
    """st_mode: type and permissions"""
    link: bytes = b""
    """target of a symlink"""
    trouble: OSError | None = None
    """why it cannot be told what is in a directory"""


def walk(root: bytes, ignoring: Ignoring | None, emit: Emit, *, left_out: Path) -> Iterator[tuple[bytes, Found]]:
    """Yield what is below `root`, but not below `left_out`, by paths that begin with a slash.

    An ignored directory is there if it holds something that is not. What is neither file, directory nor link is told
    of and left out. ConfigError where `root` itself cannot be read.
    """
    out = _identity(left_out)
    found: dict[bytes, Found] = {}
    with explained(root):
        pending = [(b"", _listed(root, b""))]
    while pending:
        directory, entries = pending.pop()
        for name, facts, link in entries:
            path = directory + b"/" + name
            if (facts.st_dev, facts.st_ino) == out:
                continue
            is_directory = stat.S_ISDIR(facts.st_mode)
            is_ignored = ignoring is not None and ignoring.is_ignored(os.fsdecode(path[1:]))
            if is_ignored and not (is_directory and ignoring is not None and ignoring.has_exceptions):
                continue
            node = Found(facts.st_mode, link)
            if is_directory:
                node, below = _directory(root, path, node)
                pending.append((path, below))
            elif not (stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode)):
                what = os.fsdecode(root + path)
                emit(Note("warning", f"{what} is neither file, directory nor link, and is left out"))
                continue
            if is_ignored:
                found[path] = node
                continue
            yield from ((parent, found.pop(parent)) for parent in and_parents(path) if parent in found)
            yield path, node


def pieces(root: bytes, path: bytes) -> Iterator[bytes]:
    """Yield the file's content. Never waits for, nor reads, what took its place: not a FIFO, not a link's target."""
    with explained(root), open(_open(root, path, _OPEN), "rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            yield piece


def and_parents(path: bytes) -> Iterator[bytes]:
    """Yield a path and those of the directories above it, without the root."""
    while path:
        yield path
        path = path.rpartition(b"/")[0]


@contextmanager
def explained(root: bytes) -> Generator[None]:
    """Turn the operating system's refusals inside the block into a ConfigError that names the file."""
    try:
        yield
    except OSError as error:
        raise cannot_read(error, root) from error


def cannot_read(error: OSError, root: bytes) -> ConfigError:
    path = os.fsdecode(error.filename or root)
    if error.errno in _REPLACED and error.filename != root:
        return changed(path)
    message = f"cannot read {path}, which is part of the build's context: {error.strerror}"
    return ConfigError(message, hint="make it readable, or leave it out by .dockerignore")


def changed(path: str) -> ConfigError:
    return ConfigError(f"{path} changed while it was being read", hint="build again when nothing writes to it")


def _identity(directory: Path) -> tuple[int, int] | None:
    """Return what tells a directory from others, by whatever name; None: it is not there."""
    try:
        found = directory.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


_Entries = list[tuple[bytes, os.stat_result, bytes]]


def _directory(root: bytes, path: bytes, node: Found) -> tuple[Found, _Entries]:
    """Return a directory and what is in it: nothing where it cannot be read, which matters to who names it only."""
    try:
        return node, _listed(root, path)
    except OSError as error:
        return Found(node.mode, trouble=error), []


def _listed(root: bytes, path: bytes) -> _Entries:
    """Return name, facts and link of all that is in a directory."""
    descriptor = _open(root, path, _OPEN | os.O_DIRECTORY)
    try:
        return [_entry(name, descriptor) for name in map(os.fsencode, os.listdir(descriptor))]
    except OSError as error:
        name = b"" if error.filename is None or error.filename == descriptor else b"/" + os.fsencode(error.filename)
        raise OSError(error.errno, error.strerror, root + path + name) from error
    finally:
        os.close(descriptor)


def _entry(name: bytes, directory: int) -> tuple[bytes, os.stat_result, bytes]:
    facts = os.stat(name, dir_fd=directory, follow_symlinks=False)
    return name, facts, os.readlink(name, dir_fd=directory) if stat.S_ISLNK(facts.st_mode) else b""


def _open(root: bytes, path: bytes, flags: int) -> int:
    """Open what is at `path` below `root`, by way of directories only; OSError names it in full."""
    names = path.split(b"/")[1:]
    at = os.open(root, _OPEN_DIRECTORY)
    try:
        if len(names) > _MAX_DEPTH:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        for name in names[:-1]:
            at, above = os.open(name, _OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=at), at
            os.close(above)
        return os.open(names[-1] if names else b".", flags, dir_fd=at)
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror, root + path) from error
    finally:
        os.close(at)

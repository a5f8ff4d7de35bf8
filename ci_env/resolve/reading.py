"""The files of a build's context on disk: what is there, and their content. No name leads out of it: beneath.py."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from ci_env.beneath import REPLACED, Listed, listed, open_file
from ci_env.errors import ConfigError
from ci_env.events import Emit, Note
from ci_env.frozen import dataclass

_PIECE = 1 << 20


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
        pending = [(b"", listed(root, b""))]
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
    with explained(root), open(open_file(root, path), "rb", buffering=0) as file:
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
    if error.errno in REPLACED and error.filename != root:
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


def _directory(root: bytes, path: bytes, node: Found) -> tuple[Found, Listed]:
    """Return a directory and what is in it: nothing where it cannot be read, which matters to who names it only."""
    try:
        return node, listed(root, path)
    except OSError as error:
        return Found(node.mode, trouble=error), []

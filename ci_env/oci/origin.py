"""The stack of layers that files are copied from, read only. Implements wildcard.Tree."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from ci_env.oci.merged import Directory, MergedView


class Origin:
    """A context manager: it keeps directories open."""

    def __init__(self, layers: Sequence[Path]) -> None:
        """Read `layers`, bottom first; without any, nothing is there."""
        self._view = MergedView(layers[-1], layers[:-1]) if layers else None

    def __enter__(self) -> Origin:
        return self

    def __exit__(self, *_: object) -> None:
        if self._view is not None:
            self._view.__exit__()

    def follow(self, path: bytes) -> bytes | None:
        """Return the real path that `path` leads to; None: nothing is there."""
        if self._view is None:
            return None
        self._view.trim()
        at, left = self._view.resolve(path.split(b"/"))
        if not left:
            return at.path
        return at.path + b"/" + left[0] if len(left) == 1 and at.find(left[0]) else None

    def names(self, path: bytes) -> Iterable[bytes]:
        """Return the names in the directory at a real path; none where it is no directory."""
        try:
            directory = self.directory(path)
        except KeyError:
            return ()
        shown = directory.lower_names()
        own = () if directory.upper is None else map(os.fsencode, os.listdir(directory.upper))
        return {*shown, *own}

    def find(self, path: bytes) -> tuple[int, bytes, os.stat_result] | None:
        """Return the open directory that a real path lies in, its name there, and what it is; None for a whiteout.

        Good until the next call.
        """
        parent, _, name = path.rpartition(b"/")
        directory = self.directory(parent)
        found = directory.find(name)
        return None if found is None else (found[0], name, found[1])

    def is_directory(self, path: bytes) -> bool:
        found = self.find(path) if path else None
        return not path or (found is not None and stat.S_ISDIR(found[2].st_mode))

    def open_directory(self, path: bytes) -> int:
        """Return the topmost directory at a real path, which has its metadata; it stays this object's."""
        directory = self.directory(path)
        return directory.lowers[0] if directory.upper is None else directory.upper

    def directory(self, path: bytes) -> Directory:
        """Return the directory at a real path; KeyError if it is none. Good until the next call."""
        if self._view is None:
            raise KeyError(path)
        self._view.trim()
        return self._view.directory(path)

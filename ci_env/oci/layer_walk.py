"""A way through the directories of a layer, whatever their depth: a step can go deeper than a path can be long.

Owns where the walk is, and its descriptor. Decides nothing about where it goes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE = "user.overlay.opaque"


class Place:
    """A directory, which a walk moves; or none, where it follows another layer's. A context manager."""

    def __init__(self, top: bytes) -> None:
        self._directory = os.open(top, _OPEN_DIRECTORY)
        self._missing = 0
        """how many of the directories that were entered last are not there"""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._directory)

    @property
    def descriptor(self) -> int | None:
        """Return the directory, open until the place moves; None where there is none."""
        return None if self._missing else self._directory

    def names(self) -> list[bytes]:
        """Return what is in it, in order."""
        return [] if self._missing else sorted(map(os.fsencode, os.listdir(self._directory)))

    def stat(self, name: bytes) -> os.stat_result | None:
        """Return what has a name in it, a symlink itself; None: nothing."""
        try:
            return None if self._missing else os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def enter(self, name: bytes) -> None:
        """Move to a directory in it. OSError leaves the place where it is."""
        other = os.open(name, _OPEN_DIRECTORY, dir_fd=self._directory)
        os.close(self._directory)
        self._directory = other

    def follow(self, name: bytes) -> None:
        """Move to a directory that the other layer has; whether this one has it, too, is found out."""
        if not self._missing:
            try:
                self.enter(name)
            except (FileNotFoundError, NotADirectoryError):
                pass
            else:
                return
        self._missing += 1

    def leave(self) -> None:
        """Move back from the directory that was entered last."""
        if self._missing:
            self._missing -= 1
        else:
            self.enter(b"..")


def is_opaque(name: bytes, directory: int | None) -> bool:
    """Tell whether a directory of a layer hides what lies below it; one that cannot be opened does not."""
    try:
        opened = os.open(name, _OPEN_DIRECTORY, dir_fd=directory)
        try:
            return os.getxattr(opened, _OPAQUE) == b"y"
        finally:
            os.close(opened)
    except OSError:
        return False

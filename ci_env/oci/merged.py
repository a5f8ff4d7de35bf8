"""The merged view of a layer being written (`upper`) and the layers below it, as overlayfs will show it.

Owns path resolution. Every step is one name in an open directory, never followed if it is a symlink: symlinks are read
and resolved here, inside the root. So nothing an archive says can name a file outside. Must not know of archives.

A *real path* is a path in the merged view without symlinks: b"" is the root, b"/usr/lib" a directory in it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

from ci_env.errors import ConfigError
from ci_env.oci.metadata import is_opaque, is_whiteout
from ci_env.oci.tar_header import shown

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KEPT_DESCRIPTORS = 400  # of the 1024 that a process has at least
_MAX_LINKS = 255  # as filepath-securejoin
_MAX_STEPS = 8192
_MAX_DEPTH = 512
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}


class Directory:
    """One directory of the merged view. Open until the view it came from forgets or trims it."""

    __slots__ = ("lowers", "path", "upper")

    def __init__(self, path: bytes, upper: int | None, lowers: tuple[int, ...]) -> None:
        self.path = path
        self.upper = upper
        """None: the layer being written does not have it yet"""
        self.lowers = lowers
        """of the layers below that show through, top first"""

    def close(self) -> None:
        for descriptor in (*self.lowers, *(() if self.upper is None else (self.upper,))):
            os.close(descriptor)

    def upper_stat(self, name: bytes) -> os.stat_result | None:
        """Return what the layer being written has at `name`, a whiteout too."""
        return None if self.upper is None else _stat(self.upper, name)

    def lower_find(self, name: bytes) -> tuple[int, os.stat_result] | None:
        """Return what the layers below show at `name`, and the directory that it lies in."""
        for descriptor in self.lowers:
            found = _stat(descriptor, name)
            if found is not None:
                return None if is_whiteout(found) else (descriptor, found)
        return None

    def find(self, name: bytes) -> tuple[int, os.stat_result] | None:
        """Return what the merged view shows at `name`, and the directory that it lies in."""
        found = self.upper_stat(name)
        if found is None or self.upper is None:
            return self.lower_find(name)
        return None if is_whiteout(found) else (self.upper, found)

    def lower_names(self) -> set[bytes]:
        """Return the names that the layers below show."""
        names = {os.fsencode(name) for descriptor in self.lowers for name in os.listdir(descriptor)}
        return {name for name in names if self.lower_find(name)}


class MergedView:
    """Resolves paths in `upper` laid over `lowers` (bottom first). A context manager: it keeps directories open.

    The caller changes `upper` through the descriptors it is given, and says so (`forget`) when a directory or symlink
    has been removed or replaced.
    """

    def __init__(self, upper: Path, lowers: Sequence[Path]) -> None:
        self._open: OrderedDict[bytes, Directory] = OrderedDict()
        self._descriptors = 0
        opened: list[int] = []
        try:
            opened.extend(os.open(path, _OPEN) for path in (upper, *reversed(lowers)))
        except OSError:
            for descriptor in opened:
                os.close(descriptor)
            raise
        self.root = Directory(b"", opened[0], tuple(opened[1:]))

    def __enter__(self) -> MergedView:
        return self

    def __exit__(self, *_: object) -> None:
        for directory in self._open.values():
            directory.close()
        self._open.clear()
        self.root.close()

    def resolve(self, names: Sequence[bytes], *, start: Directory | None = None) -> tuple[Directory, list[bytes]]:
        """Follow `names` from `start` (the root) while there are directories; return the last, and the names left.

        Symlinks are followed inside the root: `/` starts at it and `..` stays in it. Names are left where the next one
        is absent or is neither a directory nor a symlink; a `..` after such a name takes it back, as text, which is
        what filepath-securejoin does, and with it the other tools. ConfigError for a loop or an absurdly long way.
        """
        at = start or self.root
        left = list(reversed(names))
        absent: list[bytes] = []
        links = steps = 0
        while left:
            steps += 1
            name = left.pop()
            if name in (b"", b"."):
                continue
            if absent:
                _walk_absent(absent, name)
                continue
            if name == b"..":
                at = self.directory(at.path.rpartition(b"/")[0])
                continue
            child = self._child(at, name)
            if child is not None:
                at = child
                continue
            target = self._link_target(at, name)
            if target is None:
                absent.append(name)
                continue
            links += 1
            if links > _MAX_LINKS or steps > _MAX_STEPS:
                raise ConfigError(f"too many symlinks on the way to {shown(b'/'.join(names))} in the image")
            if target.startswith(b"/"):
                at = self.root
            left.extend(reversed(target.split(b"/")))
        return at, absent

    def directory(self, path: bytes) -> Directory:
        """Return the directory at a real path that is known to be one; KeyError otherwise."""
        at = self.root
        for name in path.split(b"/")[1:]:
            child = self._child(at, name)
            if child is None:
                raise KeyError(path)
            at = child
        return at

    def trim(self) -> None:
        """Close the directories that were used longest ago, if many are open. To be called when none is in use."""
        while self._descriptors > _KEPT_DESCRIPTORS and self._open:
            self._close(next(iter(self._open)))

    def forget(self, path: bytes) -> None:
        """Drop what is known of a real path and below: it has been removed, replaced or hidden."""
        below = path + b"/"
        for known in [known for known in self._open if known == path or known.startswith(below)]:
            self._close(known)

    def _child(self, parent: Directory, name: bytes) -> Directory | None:
        path = parent.path + b"/" + name
        known = self._open.get(path)
        if known is not None:
            self._open.move_to_end(path)
            return known
        directory = _open_child(parent, name, path)
        if directory is not None:
            self._keep(directory)
        return directory

    def _keep(self, directory: Directory) -> None:
        if directory.path.count(b"/") > _MAX_DEPTH:
            directory.close()
            raise ConfigError(f"directories in the image are nested more than {_MAX_DEPTH} deep")
        self._open[directory.path] = directory
        self._descriptors += len(directory.lowers) + 1

    def _close(self, path: bytes) -> None:
        directory = self._open.pop(path)
        self._descriptors -= len(directory.lowers) + 1
        directory.close()

    def _link_target(self, parent: Directory, name: bytes) -> bytes | None:
        found = parent.find(name)
        if found is None or not stat.S_ISLNK(found[1].st_mode):
            return None
        return os.readlink(name, dir_fd=found[0])


def _walk_absent(names: list[bytes], name: bytes) -> None:
    if name == b"..":
        names.pop()
    else:
        names.append(name)


def _open_child(parent: Directory, name: bytes, path: bytes) -> Directory | None:
    upper = None if parent.upper is None else _open_directory(parent.upper, name)
    shadowed = upper is not None and is_opaque(upper)
    if upper is None and parent.upper is not None and _stat(parent.upper, name) is not None:
        return None
    lowers = () if shadowed else tuple(_open_lowers(parent.lowers, name))
    return Directory(path, upper, lowers) if upper is not None or lowers else None


def _open_lowers(parents: Sequence[int], name: bytes) -> Iterator[int]:
    """Open what merges into one directory: from the top until something that is not a directory, or an opaque one."""
    for parent in parents:
        descriptor = _open_directory(parent, name)
        if descriptor is not None:
            yield descriptor
            if is_opaque(descriptor):
                return
        elif _stat(parent, name) is not None:
            return


def _open_directory(parent: int, name: bytes) -> int | None:
    try:
        return os.open(name, _OPEN, dir_fd=parent)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise


def _stat(directory: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENAMETOOLONG}:
            return None
        raise

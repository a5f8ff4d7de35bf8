"""The layer being written: directories, room for new names, copies of what lower layers have, metadata.

Knows the merged view and overlayfs's format, but no archive. All work is done by name in open directories.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence

from ci_env.oci.merged import Directory, MergedView
from ci_env.oci.metadata import (
    MISSING_PARENT,
    Metadata,
    Owners,
    clear_opaque,
    is_whiteout,
    make_opaque,
    read_metadata,
    replace_xattrs,
)
from ci_env.oci.tar_header import damaged, shown

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORY = _OPEN_FILE | os.O_DIRECTORY
_MAX_NAME = 255
_MAX_WARNINGS = 20


class Upper:
    """Writes into a merged view's upper directory. Modes and times of directories are set by `finish`, at the end.

    Until then every directory has mode 0700, so that what the image says of it cannot get in the way.
    """

    def __init__(self, view: MergedView, *, squash_ids: bool) -> None:
        self._view = view
        self._owners = Owners(squash=squash_ids)
        self._borrowed = {b""}
        """real paths that are here only as copies of what lower layers have; a whiteout of this layer removes them"""
        self._pending: dict[bytes, tuple[int, int]] = {}
        """mode and mtime of each directory written"""
        self._warnings: dict[str, None] = {}
        self.copied_bytes = 0
        root = view.root
        self._set_directory(root, read_metadata(root.lowers[0]) if root.lowers else MISSING_PARENT)

    def finish(self) -> None:
        """Set modes and times of the directories, deepest first: a parent's mode may forbid to enter it."""
        for path in sorted(self._pending, reverse=True):
            self._view.trim()
            try:
                descriptor = self._view.directory(path).upper
            except KeyError:
                continue  # replaced or hidden by a later entry
            if descriptor is not None:
                mode, mtime_ns = self._pending[path]
                os.chmod(descriptor, mode)
                os.utime(descriptor, ns=(mtime_ns, mtime_ns))

    def warn(self, text: str) -> None:
        self._warnings[text] = None

    def warnings(self) -> tuple[str, ...]:
        """Return each warning once, in order, and not too many."""
        first = tuple(self._warnings)[:_MAX_WARNINGS]
        left = len(self._warnings) - len(first)
        return (*first, f"and {left} more warnings") if left else first

    def check_owner(self, uid: int, gid: int, path: bytes) -> None:
        """ConfigError for an owner that no rootfs of ours can hold."""
        self._owners.check(uid, gid, path)

    def parent(self, names: Sequence[bytes]) -> Directory:
        """Return the directory that `names` lead to, in this layer: copied from below, or made where there is none.

        Made in place of a file, too: an entry below it says that it is a directory now.
        """
        at, left = self._view.resolve(names)
        while left:
            self.make_directory(at, left[0], MISSING_PARENT)
            at, left = self._view.resolve(left[1:], start=self._view.directory(join(at, left[0])))
        self.copy_up_directory(at)
        return at

    def make_directory(self, parent: Directory, name: bytes, metadata: Metadata) -> None:
        """Have a directory at `name`, with `metadata`. It merges with a lower one, unless this layer replaced that."""
        self.copy_up_directory(parent)
        path = join(parent, name)
        found = parent.upper_stat(name)
        if found is None or not stat.S_ISDIR(found.st_mode):
            lower = parent.lower_find(name)
            self.make_room(parent, name)
            os.mkdir(name, 0o700, dir_fd=writable(parent))
            if found is not None and lower is not None and stat.S_ISDIR(lower[1].st_mode):
                make_opaque_at(parent, name)
        self._set_directory(self._view.directory(path), metadata)
        self._borrowed.discard(path)

    def set_root(self, metadata: Metadata) -> None:
        self._set_directory(self._view.root, metadata)

    def make_room(self, parent: Directory, name: bytes) -> None:
        """Remove what this layer has at `name`; a directory with all that is in it."""
        if len(name) > _MAX_NAME:
            raise damaged(f"a name is longer than {_MAX_NAME} bytes: {shown(name[:64])}...")
        path = join(parent, name)
        found = parent.upper_stat(name)
        if found is None:
            self._forget_lower_directory(parent, name)
            return
        if not is_whiteout(found) and path not in self._borrowed:
            self.warn(f"{shown(path)} is in the layer more than once; the last one counts")
        if stat.S_ISDIR(found.st_mode):
            shutil.rmtree(name, dir_fd=writable(parent))
            self._view.forget(path)
        else:
            os.unlink(name, dir_fd=writable(parent))
        self._borrowed.discard(path)

    def _forget_lower_directory(self, parent: Directory, name: bytes) -> None:
        lower = parent.lower_find(name)
        if lower is not None and stat.S_ISDIR(lower[1].st_mode):
            self._view.forget(join(parent, name))

    def copy_up_directory(self, directory: Directory) -> None:
        """Have `directory` and those above it in this layer, with the metadata that lower layers gave them."""
        if directory.upper is not None:
            return
        parent = self._view.root
        for name in directory.path.split(b"/")[1:]:
            child = self._view.directory(join(parent, name))
            if child.upper is None:
                os.mkdir(name, 0o700, dir_fd=writable(parent))
                child.upper = os.open(name, _OPEN_DIRECTORY, dir_fd=writable(parent))
                self._set_directory(child, read_metadata(child.lowers[0]))
                self._borrowed.add(child.path)
            parent = child

    def copy_up(self, parent: Directory, name: bytes) -> None:
        """Copy a lower layer's file, symlink or fifo into this layer, so that it can be linked to."""
        lower = parent.lower_find(name)
        assert lower is not None, "the caller found it"
        self.copy_up_directory(parent)
        directory, found = lower
        metadata = Metadata(stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_mtime_ns, {})
        if stat.S_ISREG(found.st_mode):
            self._copy_file(directory, name, writable(parent))
        elif stat.S_ISLNK(found.st_mode):
            self.make_symlink(parent, name, os.readlink(name, dir_fd=directory), metadata)
        else:
            self.make_fifo(parent, name, metadata)
        self._borrowed.add(join(parent, name))

    def _copy_file(self, source_directory: int, name: bytes, directory: int) -> None:
        source = os.open(name, _OPEN_FILE, dir_fd=source_directory)
        try:
            target = os.open(name, NEW_FILE, 0o600, dir_fd=directory)
            try:
                while copied := os.sendfile(target, source, None, 2**30):
                    self.copied_bytes += copied
                self.set_file(target, read_metadata(source))
            finally:
                os.close(target)
        finally:
            os.close(source)

    def make_symlink(self, parent: Directory, name: bytes, target: bytes, metadata: Metadata) -> None:
        os.symlink(target, name, dir_fd=writable(parent))
        self.set_unopenable(parent, name, metadata)

    def make_fifo(self, parent: Directory, name: bytes, metadata: Metadata) -> None:
        os.mkfifo(name, 0o600, dir_fd=writable(parent))
        self.set_unopenable(parent, name, metadata)
        os.chmod(name, metadata.mode, dir_fd=writable(parent))

    def drop_borrowed(self, directory: int, name: bytes, path: bytes) -> None:
        """Remove what is at `name` in this layer only as a copy of, or a whiteout over, what lower layers have."""
        try:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(found.st_mode):
            self._drop_borrowed_below(directory, name, path)
        elif is_whiteout(found) or path in self._borrowed:
            os.unlink(name, dir_fd=directory)

    def _drop_borrowed_below(self, directory: int, name: bytes, path: bytes) -> None:
        descriptor = os.open(name, _OPEN_DIRECTORY, dir_fd=directory)
        try:
            for child in map(os.fsencode, os.listdir(descriptor)):
                self.drop_borrowed(descriptor, child, path + b"/" + child)
            clear_opaque(descriptor)  # it will lie in what hides all that is below, which says it already
            is_empty = not os.listdir(descriptor)
        finally:
            os.close(descriptor)
        if is_empty and path in self._borrowed:
            os.rmdir(name, dir_fd=directory)

    def set_file(self, descriptor: int, metadata: Metadata) -> None:
        """Set everything of an open file; the mode last, since chown(2) clears setuid."""
        self._set_owner(descriptor, metadata)
        os.chmod(descriptor, metadata.mode)
        os.utime(descriptor, ns=(metadata.mtime_ns, metadata.mtime_ns))

    def set_unopenable(self, parent: Directory, name: bytes, metadata: Metadata) -> None:
        """Set owner and time. Linux has no user attributes on symlinks, fifos and devices (xattr(7))."""
        directory = writable(parent)
        self._owners.give(name, metadata, directory=directory)
        os.utime(name, ns=(metadata.mtime_ns, metadata.mtime_ns), dir_fd=directory, follow_symlinks=False)

    def _set_directory(self, directory: Directory, metadata: Metadata) -> None:
        self._set_owner(writable(directory), metadata)
        self._pending[directory.path] = (metadata.mode, metadata.mtime_ns)

    def _set_owner(self, descriptor: int, metadata: Metadata) -> None:
        self._owners.give(descriptor, metadata)
        for problem in replace_xattrs(descriptor, metadata.xattrs):
            self.warn(problem)


def join(directory: Directory, name: bytes) -> bytes:
    """Return the real path of `name` in `directory`."""
    return directory.path + b"/" + name


def writable(directory: Directory) -> int:
    """Return the descriptor of a directory that is in this layer."""
    assert directory.upper is not None, "copied up before it is written to"
    return directory.upper


def make_opaque_at(parent: Directory, name: bytes) -> None:
    """Hide what lower layers have in the directory `name` of this layer."""
    descriptor = os.open(name, _OPEN_DIRECTORY, dir_fd=writable(parent))
    try:
        make_opaque(descriptor)
    finally:
        os.close(descriptor)

"""Paths of a sandbox's root while it is made, before it is anybody's root. Standard library only.

Every path is resolved below the new root by the kernel (openat2, RESOLVE_IN_ROOT), and what comes out is a descriptor:
no symlink of an image, and no race with a process that shares a mount, leads elsewhere (CVE-2021-30465,
CVE-2019-19921).
"""

from __future__ import annotations

import errno
import os
import stat

from ci_env_runners import syscalls

_FIND = os.O_PATH | os.O_CLOEXEC
_RESOLVE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_NO_LINKS = _RESOLVE | syscalls.RESOLVE_NO_SYMLINKS
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LINKS = 8


class NewRoot:
    """The directory that is to be the root. Descriptors that its methods return are the caller's to close."""

    def __init__(self, path: str) -> None:
        """Take what is mounted on `path` now."""
        self._descriptor = os.open(path, _FIND | os.O_DIRECTORY)

    def close(self) -> None:
        os.close(self._descriptor)

    def find(self, path: str) -> int | None:
        """Return what is at `path`; None where there is nothing."""
        try:
            return self._open(path)
        except FileNotFoundError:
            return None

    def has_directory(self, path: str) -> bool:
        """Tell whether `path` leads to a directory."""
        try:
            found = self.find(path)
        except OSError:  # a loop of links, or a file on the way
            return False
        if found is None:
            return False
        try:
            return stat.S_ISDIR(os.fstat(found).st_mode)
        finally:
            os.close(found)

    def parent(self, path: str) -> tuple[int, str]:
        """Return the directory that holds `path`, made where there is none, and the name in it."""
        head, _, name = path.rstrip("/").rpartition("/")
        return self.directory(head or "/"), name

    def directory(self, path: str) -> int:
        """Return the directory at `path`; made, with those above it, where there is nothing."""
        found = self.find(path)
        if found is None:
            parent, name = self.parent(path)
            try:
                os.mkdir(name, 0o755, dir_fd=parent)
            finally:
                os.close(parent)
            found = self._open(path)
        if not stat.S_ISDIR(os.fstat(found).st_mode):
            os.close(found)
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return found

    def own_directory(self, path: str) -> int:
        """Return the directory at `path`, one that no symbolic link leads to; made where there is nothing."""
        os.close(self.directory(path))
        return syscalls.openat2(self._descriptor, path.lstrip("/"), _FIND | os.O_DIRECTORY, 0, _NO_LINKS)

    def file(self, path: str) -> int:
        """Return the file at `path`; an empty one, made where there is nothing or a link to nothing."""
        for _ in range(_LINKS):
            found = self.find(path)
            if found is None:
                path = self._make_file(path)
                continue
            if stat.S_ISDIR(os.fstat(found).st_mode):
                os.close(found)
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            return found
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)

    def _make_file(self, path: str) -> str:
        """Make an empty file, and return its path; where a link has its name, the path where that leads."""
        parent, name = self.parent(path)
        try:
            os.close(os.open(name, _NEW_FILE, 0o644, dir_fd=parent))
        except FileExistsError:
            to = os.readlink(name, dir_fd=parent)
            return to if to.startswith("/") else f"{path.rpartition('/')[0]}/{to}"
        finally:
            os.close(parent)
        return path

    def _open(self, path: str) -> int:
        return syscalls.openat2(self._descriptor, path.lstrip("/") or ".", _FIND, 0, _RESOLVE)

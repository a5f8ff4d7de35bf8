"""Files below a directory that others may change meanwhile. Owns that no name leads out of it.

Directories are opened one in another, and none that is a symlink is followed, so what is put in their place is not
read: whoever runs ci-env may read more than those who can write there.
"""

from __future__ import annotations

import errno
import os
import stat

Listed = list[tuple[bytes, os.stat_result, bytes]]
"""name, facts, and the target of a symlink"""

REPLACED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL})
"""how opening a file or reading a link ends once something of another kind, or nothing, has its name"""

_MAX_DEPTH = 512  # as in images, oci/merged.py
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def open_file(root: bytes, path: bytes) -> int:
    """Open the file at `/path` below `root` for reading; EINVAL for what is none, such as a FIFO. Follows no link."""
    descriptor = _open(root, path, _OPEN)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), root + path)


def read_link(root: bytes, path: bytes) -> bytes:
    """Return the target of the symlink at `/path` below `root`."""
    parent, _, name = path.rpartition(b"/")
    directory = _open(root, parent, _OPEN | os.O_DIRECTORY)
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError as error:
        raise OSError(error.errno, error.strerror, root + path) from error
    finally:
        os.close(directory)


def listed(root: bytes, path: bytes) -> Listed:
    """Return all that is in the directory at `/path` below `root`; empty: `root` itself. OSError names it in full."""
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

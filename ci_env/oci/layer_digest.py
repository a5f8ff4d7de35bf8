"""The program that digests a layer: `python -I -m ci_env.oci.layer_digest DIR`. Prints the digest, or ends with 1.

A program of its own because it runs under the ids that layers are owned by (ports.Runner.as_owner). Covers paths,
types, modes, owners, contents, links and overlayfs's marks; not times, which no two executions share.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _hashlib import HASH

_PIECE = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PARTS = (b"root", b"host")
_OPAQUE = "user.overlay.opaque"


def digest(directory: bytes) -> str:
    """Return `sha256:HEX` of all that a step left in the layer `directory`, not of what the store keeps there."""
    whole = hashlib.sha256()
    for part in reversed(_PARTS):
        path = os.path.join(directory, part)
        if os.path.lexists(path):
            _add(whole, path, hashlib.sha256(part))
            if stat.S_ISDIR(os.lstat(path).st_mode):
                _add_below(whole, os.open(path, _OPEN_DIRECTORY), hashlib.sha256(part))
    return f"sha256:{whole.hexdigest()}"


def _add_below(whole: HASH, directory: int, path: HASH) -> None:
    """Add what is in a directory, of any depth: a step can go deeper than a path can be long. Closes `directory`."""
    waiting = [(path, _names(directory))]
    try:
        while waiting:
            path, names = waiting[-1]
            if not names:
                waiting.pop()
                directory = _moved(directory, b"..") if waiting else directory
                continue
            name = names.pop()
            below = path.copy()
            below.update(b"/" + name)
            found = _add(whole, name, below, directory)
            if stat.S_ISDIR(found.st_mode):
                directory = _moved(directory, name)
                waiting.append((below, _names(directory)))
    finally:
        os.close(directory)


def _moved(directory: int, name: bytes) -> int:
    """Return another directory in the place of this one, which is closed."""
    other = os.open(name, _OPEN_DIRECTORY, dir_fd=directory)
    os.close(directory)
    return other


def _names(directory: int) -> list[bytes]:
    """Return the names in a directory, the first one last."""
    return sorted(map(os.fsencode, os.listdir(directory)), reverse=True)


def _add(whole: HASH, name: bytes, path: HASH, directory: int | None = None) -> os.stat_result:
    """Add one file, `path` the digest of its path."""
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    whole.update(b"%o %d %d %d " % (found.st_mode, found.st_uid, found.st_gid, found.st_rdev))
    whole.update(path.digest() + _content(name, found, directory))
    return found


def _content(name: bytes, found: os.stat_result, directory: int | None) -> bytes:
    digest = hashlib.sha256()
    if stat.S_ISLNK(found.st_mode):
        digest.update(os.readlink(name, dir_fd=directory))
    elif stat.S_ISDIR(found.st_mode):
        digest.update(b"opaque" if _is_opaque(name, directory) else b"")
    elif stat.S_ISREG(found.st_mode):
        with open(os.open(name, _OPEN, dir_fd=directory), "rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    return digest.digest()


def _is_opaque(name: bytes, directory: int | None) -> bool:
    try:
        opened = os.open(name, _OPEN_DIRECTORY, dir_fd=directory)
        try:
            return os.getxattr(opened, _OPAQUE) == b"y"
        finally:
            os.close(opened)
    except OSError:
        return False


if __name__ == "__main__":
    try:
        print(digest(os.fsencode(sys.argv[1])))  # noqa: T201  # a program's answer
    except OSError as error:
        sys.exit(f"{os.fsdecode(error.filename or '')}: {error.strerror}")

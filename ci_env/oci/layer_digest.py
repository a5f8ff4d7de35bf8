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

from ci_env.oci.layer_walk import Place, is_opaque

if TYPE_CHECKING:
    from _hashlib import HASH

_PIECE = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PARTS = (b"root", b"host")


def digest(directory: bytes) -> str:
    """Return `sha256:HEX` of all that a step left in the layer `directory`, not of what the store keeps there."""
    whole = hashlib.sha256()
    with Place(directory) as place:
        for part in reversed(_PARTS):
            if place.stat(part) is not None:
                path = hashlib.sha256(part)
                found = _add(whole, part, path, place.descriptor)
                if stat.S_ISDIR(found.st_mode):
                    _add_below(whole, place, part, path)
    return f"sha256:{whole.hexdigest()}"


def _add_below(whole: HASH, place: Place, name: bytes, path: HASH) -> None:
    """Add what is in the directory `name`, `path` the digest of its path."""
    place.enter(name)
    waiting = [(path, place.names()[::-1])]
    while waiting:
        path, names = waiting[-1]
        if not names:
            waiting.pop()
            place.leave()
            continue
        name = names.pop()
        below = path.copy()
        below.update(b"/" + name)
        found = _add(whole, name, below, place.descriptor)
        if stat.S_ISDIR(found.st_mode):
            place.enter(name)
            waiting.append((below, place.names()[::-1]))


def _add(whole: HASH, name: bytes, path: HASH, directory: int | None) -> os.stat_result:
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
        digest.update(b"opaque" if is_opaque(name, directory) else b"")
    elif stat.S_ISREG(found.st_mode):
        with open(os.open(name, _OPEN, dir_fd=directory), "rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    return digest.digest()


if __name__ == "__main__":
    try:
        print(digest(os.fsencode(sys.argv[1])))  # noqa: T201  # a program's answer
    except OSError as error:
        sys.exit(f"{os.fsdecode(error.filename or '')}: {error.strerror}")

"""The program that digests a layer: `python -I -m ci_env.oci.layer_digest DIR`. Prints the digest, or ends with 1.

A program of its own because it runs under the ids that layers are owned by (ports.Runner.as_owner). Covers paths,
types, modes, owners, contents, links and overlayfs's marks; not times, which no two executions share.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Iterator

_PIECE = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PARTS = (b"root", b"host")
_OPAQUE = "user.overlay.opaque"


def digest(directory: bytes) -> str:
    """Return `sha256:HEX` of all that a step left in the layer `directory`, not of what the store keeps there."""
    whole = hashlib.sha256()
    for path, found in _walk([os.path.join(directory, name) for name in _PARTS]):
        facts = b"%o %d %d %d " % (found.st_mode, found.st_uid, found.st_gid, found.st_rdev)
        whole.update(facts + hashlib.sha256(os.path.relpath(path, directory)).digest() + _content(path, found))
    return f"sha256:{whole.hexdigest()}"


def _walk(tops: list[bytes]) -> Iterator[tuple[bytes, os.stat_result]]:
    pending = [top for top in tops if os.path.lexists(top)]
    while pending:
        path = pending.pop()
        found = os.lstat(path)
        yield path, found
        if stat.S_ISDIR(found.st_mode):
            pending.extend(sorted((os.path.join(path, name) for name in os.listdir(path)), reverse=True))


def _content(path: bytes, found: os.stat_result) -> bytes:
    digest = hashlib.sha256()
    if stat.S_ISLNK(found.st_mode):
        digest.update(os.readlink(path))
    elif stat.S_ISDIR(found.st_mode):
        digest.update(b"opaque" if _is_opaque(path) else b"")
    elif stat.S_ISREG(found.st_mode):
        with open(path, "rb", buffering=0, opener=lambda name, _: os.open(name, _OPEN)) as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    return digest.digest()


def _is_opaque(path: bytes) -> bool:
    try:
        return os.getxattr(path, _OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


if __name__ == "__main__":
    try:
        print(digest(os.fsencode(sys.argv[1])))  # noqa: T201  # a program's answer
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}")

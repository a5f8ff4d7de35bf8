"""The program that compares two layers: `python -I -m ci_env.oci.layer_changes ONE OTHER`.

A program of its own because it runs under the ids that layers are owned by (ports.Runner.as_owner). Looks at what
layer_digest.py digests: not at times. Writes one line of JSON to stdout: `changes`, the first of them, each a path and
how it differs, and `count`; or `error`.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Literal

from ci_env.frozen import dataclass
from ci_env.oci.layer_walk import Place, is_opaque
from ci_env.oci.metadata import is_whiteout
from ci_env.tree import decode_path

MAX_CHANGES = 1000
How = Literal["added", "removed", "content", "mode", "owner", "kind"]

_PIECE = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Pair:
    """What two layers have in one place. Holds until the next is asked for."""

    name: bytes
    above: Sequence[bytes]
    """the directories that it lies in, from the layer's on"""
    directories: tuple[int | None, int | None]
    """the last of them, open; None: that layer does not have it"""
    facts: tuple[os.stat_result | None, os.stat_result | None]
    """None: there is nothing"""
    how: How | None
    """they differ; None: in times at most"""

    @property
    def place(self) -> bytes:
        """Return where it lies in the layers."""
        return b"/".join((*self.above, self.name))

    @property
    def path(self) -> bytes:
        """Return where it lies below `/`: `root` is what most layers have, `host/NAME` lies at /NAME."""
        return self.place.removeprefix(self.above[0])

    @property
    def is_directory(self) -> bool:
        """Tell whether it is one in any of them."""
        return any(found is not None and stat.S_ISDIR(found.st_mode) for found in self.facts)


def main(argv: Sequence[str]) -> int:
    """Compare as the arguments say; return the exit status."""
    one, other = map(os.fsencode, argv)
    found: list[tuple[str, How]] = []
    count = 0
    try:
        for pair in pairs(one, other):
            if pair.how is None:
                continue
            count += 1
            if len(found) < MAX_CHANGES:
                found.append((decode_path(pair.path), pair.how))
        answer: dict[str, object] = {"changes": sorted(found), "count": count}
    except OSError as error:
        answer = {"error": f"{os.fsdecode(error.filename or '')}: {error.strerror}"}
    os.write(1, json.dumps(answer).encode() + b"\n")
    return 1 if "error" in answer else 0


def pairs(one: bytes, other: bytes) -> Iterator[Pair]:
    """Yield what is in either layer, but of directories that differ in more than modes and owners only themselves."""
    with Place(one) as was, Place(other) as now:
        places = was, now
        yield from _below(places, b"root", [])
        for place in places:
            place.follow(b"host")
        for name in _names(places):
            yield from _below(places, name, [b"host"])


def _below(places: tuple[Place, Place], top: bytes, above: list[bytes]) -> Iterator[Pair]:
    pending: list[bytes | None] = [top]
    """None: back to the directory above"""
    while pending:
        name = pending.pop()
        if name is None:
            above.pop()
            for place in places:
                place.leave()
            continue
        above.append(name)
        for place in places:
            place.follow(name)
        pending.append(None)
        for below in _names(places):
            pair = _pair(places, below, above)
            yield pair
            if pair.is_directory and pair.how not in ("content", "kind"):
                pending.append(below)


def _names(places: tuple[Place, Place]) -> list[bytes]:
    return sorted({name for place in places for name in place.names()})


def _pair(places: tuple[Place, Place], name: bytes, above: Sequence[bytes]) -> Pair:
    one, other = places
    directories = one.descriptor, other.descriptor
    was, now = one.stat(name), other.stat(name)
    return Pair(name, above, directories, (was, now), _how(name, directories, was, now))


def _how(
    name: bytes, directories: tuple[int | None, int | None], was: os.stat_result | None, now: os.stat_result | None
) -> How | None:
    if _is_whiteout(was) or _is_whiteout(now):  # what a layer below has, one of them hides
        return None if _is_whiteout(was) and _is_whiteout(now) else "removed" if _is_whiteout(now) else "added"
    if was is None or now is None:
        return "added" if was is None else "removed"
    if stat.S_IFMT(was.st_mode) != stat.S_IFMT(now.st_mode) or was.st_rdev != now.st_rdev:
        return "kind"
    if not _is_equal(name, directories, was, now):
        return "content"
    if was.st_mode != now.st_mode:
        return "mode"
    return "owner" if (was.st_uid, was.st_gid) != (now.st_uid, now.st_gid) else None


def _is_whiteout(found: os.stat_result | None) -> bool:
    return found is not None and is_whiteout(found)


def _is_equal(
    name: bytes, directories: tuple[int | None, int | None], was: os.stat_result, now: os.stat_result
) -> bool:
    one, other = directories
    if stat.S_ISLNK(was.st_mode):
        return os.readlink(name, dir_fd=one) == os.readlink(name, dir_fd=other)
    if stat.S_ISDIR(was.st_mode):
        return is_opaque(name, one) == is_opaque(name, other)
    if not stat.S_ISREG(was.st_mode):
        return True
    if was.st_size != now.st_size or (was.st_dev, was.st_ino) == (now.st_dev, now.st_ino):
        return was.st_size == now.st_size
    with open_file(name, one) as before, open_file(name, other) as after:
        while piece := before.read(_PIECE):
            if piece != after.read(_PIECE):
                return False
    return True


def open_file(name: bytes, directory: int | None) -> BinaryIO:
    """Open a file of a layer for reading; hangs at no FIFO, and follows no symlink."""
    return open(os.open(name, _OPEN, dir_fd=directory), "rb")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

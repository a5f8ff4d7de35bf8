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

from ci_env.oci.metadata import is_whiteout
from ci_env.tree import decode_path

MAX_CHANGES = 1000
How = Literal["added", "removed", "content", "mode", "owner", "kind"]

_PIECE = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPAQUE = "user.overlay.opaque"


def main(argv: Sequence[str]) -> int:
    """Compare as the arguments say; return the exit status."""
    one, other = map(os.fsencode, argv)
    found: list[tuple[str, How]] = []
    count = 0
    try:
        for path, how in changes(one, other):
            count += 1
            if len(found) < MAX_CHANGES:
                found.append((decode_path(path), how))
        answer: dict[str, object] = {"changes": sorted(found), "count": count}
    except OSError as error:
        answer = {"error": f"{os.fsdecode(error.filename or '')}: {error.strerror}"}
    os.write(1, json.dumps(answer).encode() + b"\n")
    return 1 if "error" in answer else 0


def changes(one: bytes, other: bytes) -> Iterator[tuple[bytes, How]]:
    """Yield the paths that differ, below `/`: `root` is what most layers have, `host/NAME` lies at /NAME."""
    yield from _in_directory(os.path.join(one, b"root"), os.path.join(other, b"root"), b"")
    hosts = [os.path.join(layer, b"host") for layer in (one, other)]
    for name in sorted({name for host in hosts for name in _list(host)}):
        yield from _in_directory(os.path.join(hosts[0], name), os.path.join(hosts[1], name), b"/" + name)


def _in_directory(one: bytes, other: bytes, path: bytes) -> Iterator[tuple[bytes, How]]:
    pending = [(one, other, path)]
    while pending:
        one, other, path = pending.pop()
        was, now = set(_list(one)), set(_list(other))
        for name in sorted(was | now):
            pair = os.path.join(one, name), os.path.join(other, name)
            below = path + b"/" + name
            how = _how(*pair)
            if how is not None:
                yield below, how
            if how in (None, "mode", "owner", "added", "removed") and any(map(_is_directory, pair)):
                pending.append((*pair, below))


def _how(one: bytes, other: bytes) -> How | None:
    was, now = _stat(one), _stat(other)
    if _is_whiteout(was) or _is_whiteout(now):  # what a layer below has, one of them hides
        return None if _is_whiteout(was) and _is_whiteout(now) else "removed" if _is_whiteout(now) else "added"
    if was is None or now is None:
        return "added" if was is None else "removed"
    if stat.S_IFMT(was.st_mode) != stat.S_IFMT(now.st_mode) or was.st_rdev != now.st_rdev:
        return "kind"
    if not _is_equal(one, other, was, now):
        return "content"
    if was.st_mode != now.st_mode:
        return "mode"
    return "owner" if (was.st_uid, was.st_gid) != (now.st_uid, now.st_gid) else None


def _is_whiteout(found: os.stat_result | None) -> bool:
    return found is not None and is_whiteout(found)


def _is_equal(one: bytes, other: bytes, was: os.stat_result, now: os.stat_result) -> bool:
    if stat.S_ISLNK(was.st_mode):
        return os.readlink(one) == os.readlink(other)
    if stat.S_ISDIR(was.st_mode):
        return _is_opaque(one) == _is_opaque(other)
    if not stat.S_ISREG(was.st_mode):
        return True
    if was.st_size != now.st_size or (was.st_dev, was.st_ino) == (now.st_dev, now.st_ino):
        return was.st_size == now.st_size
    with _open(one) as before, _open(other) as after:
        while piece := before.read(_PIECE):
            if piece != after.read(_PIECE):
                return False
    return True


def _open(path: bytes) -> BinaryIO:
    return open(path, "rb", opener=lambda name, _: os.open(name, _OPEN))


def _list(path: bytes) -> list[bytes]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_directory(path: bytes) -> bool:
    found = _stat(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def _stat(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_opaque(path: bytes) -> bool:
    try:
        return os.getxattr(path, _OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The program that shows where two layers differ: `python -I -m ci_env.oci.layer_contrast ONE OTHER`.

A program of its own because it runs under the ids that layers are owned by (ports.Runner.as_owner). Finds what
layer_changes.py finds, and shows of the first files the bytes around the first one that differs. Writes one line of
JSON to stdout: `contrasts`, `count`, and `times`: how many files differ in their times of change only; or `error`.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import sys
from collections.abc import Sequence

from ci_env.oci.layer_changes import How, changes
from ci_env.tree import decode_path

MAX_CONTRASTS = 20
BEFORE, AFTER = 256, 512
"""bytes that are shown, before the first that differs and from it on"""
_MAX_WHOLE = 1 << 22
_BLOCK = 512
_PIECE = 1 << 16
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def main(argv: Sequence[str]) -> int:
    """Compare as the arguments say; return the exit status."""
    one, other = map(os.fsencode, argv)
    contrasts: list[dict[str, object]] = []
    count = 0
    try:
        different: set[bytes] = set()
        for path, how in changes(one, other):
            count += 1
            different.add(path)
            if len(contrasts) < MAX_CONTRASTS:
                contrasts.append(_contrast(one, other, path, how))
        times = _times(one, other, different)
        answer: dict[str, object] = {"contrasts": contrasts, "count": count, "times": times}
    except OSError as error:
        answer = {"error": f"{os.fsdecode(error.filename or '')}: {error.strerror}"}
    os.write(1, json.dumps(answer).encode() + b"\n")
    return 1 if "error" in answer else 0


def _contrast(one: bytes, other: bytes, path: bytes, how: How) -> dict[str, object]:
    pair = _place((one, other), path)
    found: dict[str, object] = {"path": decode_path(path), "how": how, "modes": [_mode(place) for place in pair]}
    if how != "content":
        return found
    if all(stat.S_ISREG(os.lstat(place).st_mode) for place in pair):
        return found | _bytes(*(os.open(place, _OPEN) for place in pair)) | {"files": [os.fsdecode(p) for p in pair]}
    if all(stat.S_ISLNK(os.lstat(place).st_mode) for place in pair):
        was, now = map(os.readlink, pair)
        at = _first(was, now)
        return found | _shown(at, was[:at][-BEFORE:], was[at:], now[at:])
    return found


def _place(layers: tuple[bytes, bytes], path: bytes) -> tuple[bytes, bytes]:
    """Return where a path of `/` lies in both: below `host` where one has its first name there, else below `root`.

    Not found out by looking whether it is there: what stands below `root` in its place may be a symlink to elsewhere.
    """
    name = path.split(b"/")[1]
    is_host = any(os.path.lexists(os.path.join(layer, b"host", name)) for layer in layers)
    one, other = (os.path.join(layer, b"host" if is_host else b"root") + path for layer in layers)
    return one, other


def _mode(place: bytes) -> int | None:
    try:
        return os.lstat(place).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _bytes(one: int, other: int) -> dict[str, object]:
    """Show where two files differ; takes over their descriptors."""
    with open(one, "rb") as was, open(other, "rb") as now:
        at = 0
        while True:
            pieces = was.read(_PIECE), now.read(_PIECE)
            if pieces[0] != pieces[1] or not pieces[0]:
                break
            at += len(pieces[0])
        at += _first(*pieces)
        was.seek(max(at - BEFORE, 0))
        before = was.read(min(at, BEFORE))
        now.seek(at)
        shown = _shown(at, before, was.read(AFTER), now.read(AFTER))
        if max(os.fstat(file.fileno()).st_size for file in (was, now)) <= _MAX_WHOLE:
            was.seek(0)
            now.seek(0)
            shown["is_permuted"] = _is_permuted(was.read(_MAX_WHOLE + 1), now.read(_MAX_WHOLE + 1))
    return shown


def _is_permuted(was: bytes, now: bytes) -> bool:
    """Tell whether two contents have the same lines, words or blocks (of tar), in another order."""
    if len(was) != len(now):
        return False
    if sorted(was.split(b"\n")) == sorted(now.split(b"\n")) or sorted(was.split()) == sorted(now.split()):
        return True
    blocks = [sorted(content[at : at + _BLOCK] for at in range(0, len(content), _BLOCK)) for content in (was, now)]
    return len(was) > _BLOCK and blocks[0] == blocks[1]


def _first(was: bytes, now: bytes) -> int:
    pairs = enumerate(zip(was, now, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(was), len(now)))


def _shown(at: int, before: bytes, was: bytes, now: bytes) -> dict[str, object]:
    pieces = {"before": before, "was": was[:AFTER], "now": now[:AFTER]}
    return {"at": at, **{name: base64.b64encode(piece).decode() for name, piece in pieces.items()}}


def _times(one: bytes, other: bytes, different: set[bytes]) -> int:
    """Return how many files have other times of change, and differ in nothing else."""
    count = 0
    for top in (b"root", b"host"):
        base = os.path.join(one, top)
        for directory, _, files in os.walk(base):
            for name in files:
                place = os.path.join(directory, name)
                path = place[len(base) :]
                count += path not in different and _is_other_time(place, os.path.join(other, top) + path)
    return count


def _is_other_time(one: bytes, other: bytes) -> bool:
    try:
        return os.lstat(one).st_mtime_ns != os.lstat(other).st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

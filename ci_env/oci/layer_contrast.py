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
from typing import BinaryIO

from ci_env.oci.layer_changes import Pair, open_file, pairs
from ci_env.tree import decode_path

MAX_CONTRASTS = 20
BEFORE, AFTER = 256, 512
"""bytes that are shown, before the first that differs and from it on"""
_MAX_WHOLE = 1 << 22
_BLOCK = 512
_PIECE = 1 << 16


def main(argv: Sequence[str]) -> int:
    """Compare as the arguments say; return the exit status."""
    one, other = map(os.fsencode, argv)
    contrasts: list[dict[str, object]] = []
    count = times = 0
    try:
        for pair in pairs(one, other):
            if pair.how is None:
                times += _is_other_time(pair)
                continue
            count += 1
            if len(contrasts) < MAX_CONTRASTS:
                contrasts.append(_contrast((one, other), pair))
        answer: dict[str, object] = {"contrasts": contrasts, "count": count, "times": times}
    except OSError as error:
        answer = {"error": f"{os.fsdecode(error.filename or '')}: {error.strerror}"}
    os.write(1, json.dumps(answer).encode() + b"\n")
    return 1 if "error" in answer else 0


def _contrast(layers: tuple[bytes, bytes], pair: Pair) -> dict[str, object]:
    modes = [None if found is None else found.st_mode for found in pair.facts]
    found: dict[str, object] = {"path": decode_path(pair.path), "how": pair.how, "modes": modes}
    if pair.how != "content":
        return found
    if all(mode is not None and stat.S_ISREG(mode) for mode in modes):
        files = [os.fsdecode(os.path.join(layer, pair.place)) for layer in layers]
        return found | _bytes(*(open_file(pair.name, directory) for directory in pair.directories)) | {"files": files}
    if all(mode is not None and stat.S_ISLNK(mode) for mode in modes):
        was, now = (os.readlink(pair.name, dir_fd=directory) for directory in pair.directories)
        at = _first(was, now)
        return found | _shown(at, was[:at][-BEFORE:], was[at:], now[at:])
    return found


def _bytes(one: BinaryIO, other: BinaryIO) -> dict[str, object]:
    """Show where two files differ; closes them."""
    with one as was, other as now:
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


def _is_other_time(pair: Pair) -> bool:
    """Tell of what does not differ in anything else whether it is a file that was changed at another time."""
    was, now = pair.facts
    return not pair.is_directory and was is not None and now is not None and was.st_mtime_ns != now.st_mtime_ns


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The program that collects files of a workspace: `python -I -m ci_env.oci.collect OUTPUT UPPER --artifact PATTERN...`.

A program of its own because it runs under the ids that layers are owned by (ports.Runner.as_owner). Looks at the layers
as overlayfs would show them and follows no link, so nothing outside of the workspace is ever read. Writes a tar with
paths from the root to OUTPUT, and one line of JSON to stdout: `unmatched`, the patterns that match no file, and
`left_out`, files that are neither file nor link; or `error`.
"""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ci_env.oci.merged import Directory, MergedView
from ci_env.patterns import PatternError, select
from ci_env.tree import Entry, Mode, decode_path, encode_path

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WORKSPACE = b"workspace"


def main(argv: Sequence[str]) -> int:
    """Collect as the arguments say; return the exit status."""
    parser = argparse.ArgumentParser(prog="ci_env.oci.collect")
    parser.add_argument("output", type=Path)
    parser.add_argument("upper", type=Path)
    parser.add_argument("--lower", type=Path, action="append", default=[], help="bottom first")
    parser.add_argument("--artifact", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--report", action="append", default=[], metavar="PATTERN", help="a list of its own")
    arguments = parser.parse_args(argv)
    try:
        with MergedView(arguments.upper, arguments.lower) as view:
            answer = _collect(view, (arguments.artifact, arguments.report), arguments.output)
    except OSError as error:
        answer = {"error": f"{error.filename or arguments.output}: {error.strerror}"}
    os.write(1, json.dumps(answer).encode() + b"\n")
    return 1 if "error" in answer else 0


def _collect(view: MergedView, lists: Sequence[Sequence[str]], output: Path) -> dict[str, object]:
    top, left = view.resolve([_WORKSPACE])
    found = {} if left else dict(_walk(view, top.path, b""))
    entries = tuple(Entry(decode_path(path), _mode(mode), "") for path, mode in sorted(found.items()))
    kept = tuple(entry for entry in entries if stat.S_ISREG(found[encode_path(entry.path)]) or entry.mode == 0o120000)
    choices = [_choose(kept, patterns) for patterns in lists]
    chosen = {entry for entries_of_one, _ in choices for entry in entries_of_one}
    with tarfile.open(output, "x", format=tarfile.PAX_FORMAT) as tar:
        for entry in kept:
            if entry in chosen:
                _add(tar, view, top.path, entry)
    unmatched = [pattern for _, patterns in choices for pattern in patterns]
    return {"unmatched": unmatched, "left_out": len(entries) - len(kept)}


def _walk(view: MergedView, top: bytes, below: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield the paths below `top` of all that is no directory, with their modes."""
    view.trim()
    directory = view.directory(top + (b"/" + below if below else b""))
    for name in sorted(_names(directory)):
        path = below + b"/" + name if below else name
        found = directory.find(name)
        if found is None:
            continue
        if stat.S_ISDIR(found[1].st_mode):
            yield from _walk(view, top, path)
            directory = view.directory(top + (b"/" + below if below else b""))
        else:
            yield path, found[1].st_mode


def _names(directory: Directory) -> set[bytes]:
    names = directory.lower_names()
    return names if directory.upper is None else names.union(map(os.fsencode, os.listdir(directory.upper)))


def _choose(entries: Sequence[Entry], patterns: Sequence[str]) -> tuple[tuple[Entry, ...], list[str]]:
    """Return what `patterns` choose, and those that match nothing: what a failed step was to leave may be missing.

    What a list leaves out before it has chosen anything is dropped: a list that begins so would begin with everything.
    """
    matching, unmatched = list(patterns), list[str]()
    begins_empty = not any(pattern.startswith("!") for pattern in patterns[:1])
    while matching:
        if begins_empty and matching[0].startswith("!"):
            del matching[0]
            continue
        try:
            return select(entries, matching), unmatched
        except PatternError as error:
            matching.remove(error.pattern)
            unmatched.append(error.pattern)
    return (), unmatched


def _add(tar: tarfile.TarFile, view: MergedView, top: bytes, entry: Entry) -> None:
    head, _, name = encode_path(entry.path).rpartition(b"/")
    found = view.directory(top + (b"/" + head if head else b"")).find(name)
    assert found is not None, "it was there a moment ago, and nothing runs in the sandbox any more"
    directory, facts = found
    info = tarfile.TarInfo(f"{_WORKSPACE.decode()}/{entry.path}")
    info.mtime = int(facts.st_mtime)
    info.mode = stat.S_IMODE(facts.st_mode)
    if entry.mode == 0o120000:
        info.type, info.linkname = tarfile.SYMTYPE, decode_path(os.readlink(name, dir_fd=directory))
        tar.addfile(info)
        return
    with open(os.open(name, _OPEN, dir_fd=directory), "rb") as file:
        info.size = os.fstat(file.fileno()).st_size
        tar.addfile(info, file)


def _mode(mode: int) -> Mode:
    if stat.S_ISLNK(mode):
        return 0o120000
    return 0o100755 if mode & 0o100 else 0o100644


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The files of a source as a flat, sorted listing. Owns its encoding; must not read files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ci_env.digest import Digest

Mode = Literal[0o100644, 0o100755, 0o120000, 0o160000]
"""git's: file, executable file, symbolic link, and a submodule that is not checked out (an empty directory)"""

_MODES: dict[bytes, Mode] = {b"100644": 0o100644, b"100755": 0o100755, b"120000": 0o120000, b"160000": 0o160000}
_ENTRY = re.compile(rb"(?P<mode>100644|100755|120000|160000) (?P<blob>[0-9a-f]+) (?P<path>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file. A listing holds each path once, ordered by the path's bytes."""

    path: str
    """below the source's root, without a leading slash; bytes that are not UTF-8 as surrogate escapes"""
    mode: Mode
    blob: str
    """git's blob id, or the content's sha256 where the source is not a git work tree; hexadecimal"""


def encode_path(path: str) -> bytes:
    """Return the bytes that the file system knows `path` by, whatever the locale."""
    return path.encode("utf-8", "surrogateescape")


def decode_path(path: bytes) -> str:
    """Undo `encode_path`."""
    return path.decode("utf-8", "surrogateescape")


def in_order(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return `entries` in a listing's order."""
    return tuple(sorted(entries, key=_place))


def dump_listing(entries: Iterable[Entry]) -> bytes:
    """Return the written form of a listing, one for each; `load_listing` reads it back.

    A path can hold any byte but NUL, and nothing else here holds a space or NUL, so no two listings share a form.
    """
    return b"".join(b"%o %s %s\0" % (entry.mode, entry.blob.encode(), encode_path(entry.path)) for entry in entries)


def load_listing(content: bytes) -> tuple[Entry, ...]:
    """Return the listing that `dump_listing` wrote; ValueError for what it did not write."""
    *lines, rest = content.split(b"\0")
    if rest:
        raise ValueError("a listing that does not end in NUL")
    entries = tuple(_load_entry(line) for line in lines)
    if list(entries) != sorted({entry.path: entry for entry in entries}.values(), key=_place):
        raise ValueError("a listing that is not in order")
    return entries


def listing_digest(entries: Iterable[Entry]) -> Digest:
    """Return the digest of the written form: equal for equal paths, modes and contents, and for nothing else."""
    return Digest.of(dump_listing(entries))


def _place(entry: Entry) -> bytes:
    return encode_path(entry.path)


def _load_entry(line: bytes) -> Entry:
    match = _ENTRY.fullmatch(line)
    if match is None:
        raise ValueError(f"not an entry of a listing: {line!r}")
    return Entry(decode_path(match["path"]), _MODES[match["mode"]], match["blob"].decode())

"""The files of a source as a flat, sorted listing. Owns its encoding; must not read files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ci_env.digest import Digest

Mode = Literal[0o100644, 0o100755, 0o120000, 0o160000]
"""git's: file, executable file, symbolic link, and a submodule that is not checked out (an empty directory)"""


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
    return tuple(sorted(entries, key=lambda entry: encode_path(entry.path)))


def listing_digest(entries: Iterable[Entry]) -> Digest:
    """Return the identity of a listing: equal for equal paths, modes and contents, and for nothing else.

    A path can hold any byte but NUL, and nothing else here holds a space or NUL, so no two listings share an encoding.
    """
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(b"%o %s %s\0" % (entry.mode, entry.blob.encode(), encode_path(entry.path)))
    return Digest(f"sha256:{digest.hexdigest()}")

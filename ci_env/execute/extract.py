"""Artifacts out of the store, into a directory of the user's. Trusts nothing in a tar: steps decided its content."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ci_env.errors import IntegrityError
from ci_env.files import explained
from ci_env.oci.tar import Archive
from ci_env.oci.tar import Entry as Member
from ci_env.tree import Entry, decode_path
from ci_env.workspace import date, lay, make_directories

_PIECE = 1 << 20
_TOP = b"workspace/"


def extract(tar: BinaryIO, destination: Path) -> tuple[str, ...]:
    """Lay the files of an artifacts tar below `destination`, which is made; return their paths.

    Directories first, then files, which must be new: so nothing is ever written through a link. HostError where there
    is something already.
    """
    top = os.fsencode(destination)
    entries = tuple(_entry(member) for member in _members(tar))
    with explained("write artifacts to", destination):
        directories = make_directories(top, entries)
        tar.seek(0)
        archive = Archive(iter(lambda: tar.read(_PIECE), b""))
        for member in archive:
            lay(top, _entry(member), _content(archive, member), epoch=member.mtime_ns // 10**9)
        newest = max((member.mtime_ns // 10**9 for member in _members(tar)), default=0)
        for path in directories:
            date(path, newest)
    return tuple(entry.path for entry in entries)


def _members(tar: BinaryIO) -> Iterator[Member]:
    tar.seek(0)
    return iter(Archive(iter(lambda: tar.read(_PIECE), b"")))


def _entry(member: Member) -> Entry:
    path = decode_path(member.path.removeprefix(_TOP))
    if member.kind == "symlink":
        return Entry(path, 0o120000, "")
    if member.kind != "file":
        raise IntegrityError(f"artifacts hold {path!r}, which is a {member.kind}")
    return Entry(path, 0o100755 if member.mode & 0o100 else 0o100644, "")


def _content(archive: Archive, member: Member) -> Iterator[bytes]:
    if member.kind == "symlink":
        yield member.link
    while piece := archive.read(_PIECE):
        yield bytes(piece)

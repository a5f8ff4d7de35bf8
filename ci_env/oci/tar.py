"""A strict, streaming reader of layer archives: POSIX ustar and pax, GNU long names, sparse files. Writes nothing.

Our own because the standard library's reader hangs, allocates what a header claims, and ends silently at a damaged one
(cpython#151981, cpython#151497). Here a header that is wrong is a ConfigError, memory is bounded, and every byte read
is either an entry's or skipped on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from ci_env.frozen import dataclass, replace
from ci_env.oci.tar_header import BLOCK, ZERO_BLOCK, Header, damaged, parse_header, shown
from ci_env.oci.tar_pax import Pax, parse_pax
from ci_env.oci.tar_sparse import Cursor, from_content, from_header

Kind = Literal["file", "directory", "symlink", "hardlink", "fifo", "character", "block"]

_KINDS: Mapping[bytes, Kind] = {
    b"0": "file",
    b"\0": "file",
    b"S": "file",  # sparse
    b"7": "file",  # contiguous: POSIX lets readers treat it as a plain file
    b"1": "hardlink",
    b"2": "symlink",
    b"3": "character",
    b"4": "block",
    b"5": "directory",
    b"6": "fifo",
}
_MAX_EXTENDED_BYTES = 2**20
_NO_PAX = Pax()
_ZEROS = bytes(2**16)
_MAX_PATH_BYTES = 4096
_MAX_LINK_BYTES = 4095  # symlink(2): PATH_MAX with its NUL
_TIMES_NS = (-(2**31) * 10**9, (2**34 - 2**31 - 1) * 10**9)  # ext4's, fs/ext4/ext4.h: 1901 to 2446
_MAX_ID = 2**32 - 2  # chown(2): -1 means "leave as it is"


@dataclass(frozen=True, slots=True)
class Entry:
    """One member. Names are bytes as written: neither cleaned nor trusted."""

    path: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    """bytes of content; 0 for all but files"""
    link: bytes
    """target of a symlink or hardlink"""
    device: tuple[int, int]
    """major, minor"""
    xattrs: Mapping[bytes, bytes]
    is_redated: bool = False
    """its time is the nearest that filesystems can hold"""


class Archive:
    """The entries of a plain tar archive, given in pieces. One pass: `read` gives the content of the current entry."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._piece = memoryview(b"")
        self._content_left = 0
        self._padding = 0
        self._sparse: Cursor | None = None

    def __iter__(self) -> Iterator[Entry]:
        """Yield each entry; content of the one before that was not read is skipped.

        Ends at two zero blocks or at the end of the input; what follows is read and ignored, so that all of the input
        has passed. ConfigError at the first thing that is not right.
        """
        while (entry := self._next_entry()) is not None:
            yield entry
        for _ in self._pieces:
            pass

    def read(self, size: int, /) -> memoryview:
        """Return 1 to `size` bytes of the current entry's content; none at its end. Valid until the next call."""
        return self._stored(size) if self._sparse is None else self._read_sparse(self._sparse, size)

    def skip_hole(self) -> int:
        """Pass over the zeros that a sparse file has at this place without being stored; return how many."""
        if self._sparse is None:
            return 0
        size = self._sparse.hole()
        self._sparse.pass_hole(size)
        return size

    def _read_sparse(self, cursor: Cursor, size: int) -> memoryview:
        hole = min(size, cursor.hole(), len(_ZEROS))
        if hole:
            cursor.pass_hole(hole)
            return memoryview(_ZEROS)[:hole]
        piece = self._stored(min(size, cursor.data()))
        cursor.pass_data(len(piece))
        return piece

    def _stored(self, size: int) -> memoryview:
        wanted = min(size, self._content_left)
        if wanted == 0:
            return memoryview(b"")
        piece = self._take(wanted)
        if not piece:
            raise damaged("it ends inside a file")
        self._content_left -= len(piece)
        return piece

    def _next_entry(self) -> Entry | None:
        pax, name, link = _NO_PAX, None, None
        while (header := self._next_header()) is not None:
            if header.type == b"x":
                pax = parse_pax(self._extended(header))
            elif header.type == b"g":
                self._extended(header)  # its records would rename every later entry; no image tool obeys them
            elif header.type == b"L":
                name = self._extended(header).rstrip(b"\0")
            elif header.type == b"K":
                link = self._extended(header).rstrip(b"\0")
            else:
                return self._begin(header, pax, name, link)
        if pax != _NO_PAX or name is not None or link is not None:
            raise damaged("it ends after an extended header")
        return None

    def _begin(self, header: Header, pax: Pax, name: bytes | None, link: bytes | None) -> Entry:
        """Return an entry, and have its content come next."""
        entry = _entry(header, pax, name, link)
        if pax.sparse is None and header.type != b"S":
            self._begin_content(entry.size)
            return entry
        if entry.kind != "file":
            raise damaged(f"{shown(entry.path)} is a sparse {entry.kind}")
        size, parts = (pax.sparse.size, pax.sparse.parts) if pax.sparse else from_header(header.sparse, self._block)
        self._begin_content(entry.size)
        if parts is None:
            parts = from_content(self._content_block)
        self._sparse = Cursor(parts, size, self._content_left)
        entry = replace(entry, size=size)
        _check(entry)
        return entry

    def _content_block(self) -> bytes:
        """Return the next block of the current content; a part of one, or nothing, at its end."""
        block = b""
        while len(block) < BLOCK and (piece := self._stored(BLOCK - len(block))):
            block += piece
        return block

    def _next_header(self) -> Header | None:
        """Return the next header; None at the end: two zero blocks, or no more input."""
        self._skip()
        block = self._block()
        if not block:
            return None
        if block != ZERO_BLOCK:
            return parse_header(block)
        if self._block() not in (ZERO_BLOCK, b""):
            raise damaged("a lone zero block stands between its entries")
        return None

    def _extended(self, header: Header) -> bytes:
        if not 0 <= header.size <= _MAX_EXTENDED_BYTES:
            raise damaged(f"an extended header claims {header.size} bytes")
        self._begin_content(header.size)
        content = bytearray()
        while piece := self.read(header.size):
            content += piece
        return bytes(content)

    def _begin_content(self, size: int) -> None:
        self._content_left = size
        self._padding = -size % BLOCK

    def _skip(self) -> None:
        """Pass over what is left of the current content, and its padding (which may be cut off at the very end)."""
        self._sparse = None
        while self.read(2**20):
            pass
        while self._padding and (piece := self._take(self._padding)):
            self._padding -= len(piece)
        self._padding = 0

    def _block(self) -> bytes:
        block = bytes(self._take(BLOCK))
        while 0 < len(block) < BLOCK and (more := self._take(BLOCK - len(block))):
            block += more
        return block

    def _take(self, size: int) -> memoryview:
        """Return 1 to `size` bytes; none at the end of the input."""
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return memoryview(b"")
            self._piece = memoryview(piece)
        taken, self._piece = self._piece[:size], self._piece[size:]
        return taken


def _entry(header: Header, pax: Pax, name: bytes | None, link: bytes | None) -> Entry:
    path = (pax.sparse and pax.sparse.name) or pax.path or name or header.name
    kind = _kind(header, path)
    size = header.size if pax.size is None else pax.size
    mtime_ns = header.mtime * 10**9 if pax.mtime_ns is None else pax.mtime_ns
    entry = Entry(
        path=path,
        kind=kind,
        mode=header.mode,
        uid=header.uid if pax.uid is None else pax.uid,
        gid=header.gid if pax.gid is None else pax.gid,
        mtime_ns=max(_TIMES_NS[0], min(mtime_ns, _TIMES_NS[1])),
        size=size if kind == "file" else 0,
        link=(pax.link or link or header.link) if kind in ("symlink", "hardlink") else b"",
        device=header.device,
        xattrs=pax.xattrs,
        is_redated=not _TIMES_NS[0] <= mtime_ns <= _TIMES_NS[1],
    )
    _check(entry)
    return entry


def _kind(header: Header, path: bytes) -> Kind:
    if header.type == b"\0" and path.endswith(b"/"):
        return "directory"  # how archives older than POSIX write it
    kind = _KINDS.get(header.type)
    if kind is None:
        raise damaged(f"{shown(path)} has the unknown type {shown(header.type)!r}")
    return kind


def _check(entry: Entry) -> None:
    if not entry.path:
        raise damaged("an entry has no name")
    if b"\0" in entry.path or b"\0" in entry.link:
        raise damaged(f"the name {shown(entry.path + entry.link)} holds a NUL")
    if len(entry.path) > _MAX_PATH_BYTES:
        raise damaged(f"a name is longer than {_MAX_PATH_BYTES} bytes: {shown(entry.path[:64])}...")
    if len(entry.link) > _MAX_LINK_BYTES:
        raise damaged(f"the target of {shown(entry.path)} is longer than {_MAX_LINK_BYTES} bytes")
    if entry.kind in ("symlink", "hardlink") and not entry.link:
        raise damaged(f"{shown(entry.path)} is a link to nothing")
    if not (0 <= entry.uid <= _MAX_ID and 0 <= entry.gid <= _MAX_ID):
        raise damaged(f"{shown(entry.path)} has the owner {entry.uid}:{entry.gid}, which no file can have")
    if entry.size < 0 or entry.size >= 2**63:
        raise damaged(f"{shown(entry.path)} claims a size of {entry.size} bytes")

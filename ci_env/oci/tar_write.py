"""One entry of a layer's archive as bytes: POSIX ustar, with a pax header for what that cannot say. Pure.

Our own because the standard library's writer takes names as text and times as floats. What is written depends on the
entry alone: no names of users, no times of access.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from ci_env.oci.tar import Entry, Kind
from ci_env.oci.tar_header import BLOCK

END = bytes(2 * BLOCK)
_TYPES: Mapping[Kind, bytes] = {
    "file": b"0",
    "hardlink": b"1",
    "symlink": b"2",
    "character": b"3",
    "block": b"4",
    "directory": b"5",
    "fifo": b"6",
}
# name mode uid gid size mtime checksum type link magic+version uname gname major minor prefix
_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_CHECKSUM = slice(148, 156)
_NAME_LENGTH = 100
_SMALL, _LARGE = 8**7, 8**11
"""the first number that a field of 8 and of 12 bytes cannot hold"""
_SECOND_NS = 10**9


def header(entry: Entry) -> bytes:
    """Return all that comes before the entry's content."""
    records = _records(entry)
    if not records:
        return _block(entry.path, _TYPES[entry.kind], entry)
    content = b"".join(_record(name, value) for name, value in sorted(records.items()))
    plain = Entry(b"", "file", 0o644, 0, 0, 0, len(content), b"", (0, 0), {})
    return _block(b"pax", b"x", plain) + content + padding(len(content)) + _block(entry.path, _TYPES[entry.kind], entry)


def padding(size: int) -> bytes:
    """Return what fills the last block of content of `size` bytes."""
    return bytes(-size % BLOCK)


def _records(entry: Entry) -> dict[bytes, bytes]:
    """Return the pax records of what the header block cannot hold."""
    records = {b"SCHILY.xattr." + name: value for name, value in entry.xattrs.items()}
    if len(entry.path) > _NAME_LENGTH:
        records[b"path"] = entry.path
    if len(entry.link) > _NAME_LENGTH:
        records[b"linkpath"] = entry.link
    if entry.size >= _LARGE:
        records[b"size"] = b"%d" % entry.size
    for name, number in ((b"uid", entry.uid), (b"gid", entry.gid)):
        if number >= _SMALL:
            records[name] = b"%d" % number
    if entry.mtime_ns % _SECOND_NS or not 0 <= entry.mtime_ns < _LARGE * _SECOND_NS:
        records[b"mtime"] = _time(entry.mtime_ns)
    return records


def _time(time_ns: int) -> bytes:
    sign, (seconds, fraction) = b"-" if time_ns < 0 else b"", divmod(abs(time_ns), _SECOND_NS)
    return sign + (b"%d.%09d" % (seconds, fraction)).rstrip(b"0").rstrip(b".")


def _record(name: bytes, value: bytes) -> bytes:
    """Return `length name=value newline`, where the length counts itself."""
    body = b" " + name + b"=" + value + b"\n"
    length = len(body)
    while len(b"%d" % length) + len(body) != length:
        length = len(b"%d" % length) + len(body)
    return b"%d" % length + body


def _block(path: bytes, kind: bytes, entry: Entry) -> bytes:
    """Return a header block; what does not fit is cut or 0 there, and in the pax records in full."""
    block = bytearray(
        _FIELDS.pack(
            path[:_NAME_LENGTH],
            b"%07o\0" % entry.mode,
            b"%07o\0" % (entry.uid if entry.uid < _SMALL else 0),
            b"%07o\0" % (entry.gid if entry.gid < _SMALL else 0),
            b"%011o\0" % (entry.size if entry.size < _LARGE else 0),
            b"%011o\0" % min(max(0, entry.mtime_ns // _SECOND_NS), _LARGE - 1),
            b" " * 8,
            kind,
            entry.link[:_NAME_LENGTH],
            b"ustar\x0000",
            b"",
            b"",
            b"%07o\0" % entry.device[0],
            b"%07o\0" % entry.device[1],
            b"",
        )
    )
    block[_CHECKSUM] = b"%06o\0 " % sum(block)
    return bytes(block)

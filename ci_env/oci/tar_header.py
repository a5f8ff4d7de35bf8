"""One 512-byte header block of a tar archive (POSIX ustar, GNU and the older form), as types. Pure."""

from __future__ import annotations

import functools
import struct

from ci_env.errors import ConfigError
from ci_env.frozen import dataclass

BLOCK = 512
ZERO_BLOCK = bytes(BLOCK)

# name mode uid gid size mtime checksum type link magic+version uname gname major minor prefix
_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_CHECKSUM = slice(148, 156)
_SPARSE = slice(386, 495)
_MAX_SHOWN = 512
_USTAR = b"ustar\x00"


@dataclass(frozen=True, slots=True)
class Header:
    """The fields as written, numbers decoded."""

    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    type: bytes
    link: bytes
    device: tuple[int, int]
    """major, minor"""
    sparse: bytes = b""
    """of a sparse file in GNU's form: its map"""


def damaged(why: str) -> ConfigError:
    """Return the error of an archive that is not a valid layer."""
    return ConfigError(
        f"the layer is not a valid tar archive: {why}", hint="the image was built wrongly; build and push it again"
    )


def shown(name: bytes) -> str:
    """Return a file name for a message: as text, with everything unprintable escaped, and not too long."""
    text = name[:_MAX_SHOWN].decode(errors="backslashreplace") + ("..." if len(name) > _MAX_SHOWN else "")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def parse_header(block: bytes) -> Header:
    """Return the header in `block`, whose checksum must match; ConfigError otherwise."""
    if len(block) != BLOCK:
        raise damaged("it ends inside a header")
    name, mode, uid, gid, size, mtime, checksum, kind, link, magic, _, _, major, minor, prefix = _FIELDS.unpack(block)
    if number(checksum) not in _checksums(block):
        raise damaged("a header's checksum is wrong")
    name = _text(name)
    if magic.startswith(_USTAR) and prefix[0]:  # GNU keeps times where POSIX has the prefix
        name = _text(prefix) + b"/" + name
    is_device = kind in b"34"
    return Header(
        name=name,
        mode=number(mode) & 0o7777,
        uid=number(uid),
        gid=number(gid),
        size=number(size),
        mtime=number(mtime),
        type=kind,
        link=_text(link),
        device=(number(major), number(minor)) if is_device else (0, 0),
        sparse=block[_SPARSE] if kind == b"S" else b"",
    )


@functools.lru_cache(4096)  # most entries of an archive have the same modes and owners
def number(field: bytes) -> int:
    """Return a numeric field: octal text, or GNU's base-256 when the top bit is set; an empty one is 0."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ~(0x80 << 8 * (len(field) - 1))
        negative_bit = 0x40 << 8 * (len(field) - 1)
        return value - 2 * negative_bit if value & negative_bit else value
    text = field.split(b"\0", 1)[0].strip(b" ")
    if not text:
        return 0
    if text.strip(b"01234567"):
        raise damaged(f"{shown(text)!r} in a header is not an octal number")
    return int(text, 8)


def _checksums(block: bytes) -> tuple[int, int]:
    """Return both sums that writers use: of unsigned bytes (POSIX) and of signed ones (old Sun and NeXT)."""
    blank = block[: _CHECKSUM.start] + b" " * 8 + block[_CHECKSUM.stop :]
    unsigned = sum(blank)
    return unsigned, unsigned - 256 * sum(byte > 127 for byte in blank) if not blank.isascii() else unsigned


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]

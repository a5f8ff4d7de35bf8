"""Whether a file is a tar archive that ADD unpacks, and its plain content. Told by content, never by name."""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Iterator
from typing import BinaryIO

from ci_env.errors import ConfigError
from ci_env.oci.decompress import PIECE, decompress
from ci_env.oci.tar_header import BLOCK, ZERO_BLOCK, parse_header

_BZIP2, _XZ = b"BZh", b"\xfd7zXZ\x00"
_XZ_MEMORY_BYTES = 2**27  # as for zstd; `xz -9` asks for 65 MiB


class _Unreadable(ConfigError):
    """Compressed content that we do not read, though it may be an archive."""


def plain_archive(file: BinaryIO) -> Iterator[bytes] | None:
    """Return the content of a tar archive, decompressed, in pieces; None if `file` is none. It can be sought in.

    Compression is gzip, zstd, bzip2, xz or none. A file that begins as an archive is one, though it be damaged.
    ConfigError for xz content that asks for more than 128 MiB of memory, whatever it is.
    """
    try:
        pieces = _plain(file)
        start = b""
        while len(start) < BLOCK and (piece := next(pieces, b"")):
            start += piece
        if len(start) < BLOCK or start[:BLOCK] == ZERO_BLOCK:
            return None
        parse_header(start[:BLOCK])
    except _Unreadable:
        raise
    except ConfigError:
        return None
    file.seek(0)
    return _plain(file)


def _plain(file: BinaryIO) -> Iterator[bytes]:
    start = file.read(len(_XZ))
    file.seek(0)
    if start.startswith(_BZIP2):
        return _unbzip2(file)
    return _unxz(file) if start == _XZ else decompress(file)


def _unbzip2(file: BinaryIO) -> Iterator[bytes]:
    content = bz2.BZ2File(file)
    try:
        while piece := content.read(PIECE):
            yield piece
    except (EOFError, OSError) as error:
        raise ConfigError(f"its bzip2 content is damaged ({error})") from error


def _unxz(file: BinaryIO) -> Iterator[bytes]:
    """Yield the content of all streams, and of the padding between them nothing (xz-file-format.txt 2)."""
    given = file.read(PIECE)
    while given:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)
        yield from _unxz_stream(decoder, given, file)
        given = decoder.unused_data.lstrip(b"\0")
        while not given and (padding := file.read(PIECE)):
            given = padding.lstrip(b"\0")


def _unxz_stream(decoder: lzma.LZMADecompressor, given: bytes, file: BinaryIO) -> Iterator[bytes]:
    try:
        while True:
            if piece := decoder.decompress(given, PIECE):
                yield piece
            if decoder.eof:
                return
            given = file.read(PIECE) if decoder.needs_input else b""
            if decoder.needs_input and not given:
                raise ConfigError("its xz content ends early")
    except lzma.LZMAError as error:
        if "limit" in str(error):  # LZMA_MEMLIMIT_ERROR has no class of its own
            raise _Unreadable(f"its xz content asks for more than {_XZ_MEMORY_BYTES >> 20} MiB of memory") from error
        raise ConfigError(f"its xz content is damaged ({error})") from error

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


def plain_archive(file: BinaryIO) -> Iterator[bytes] | None:
    """Return the content of a tar archive, decompressed, in pieces; None if `file` is none. It can be sought in.

    Compression is gzip, zstd, bzip2, xz or none. A file that begins as an archive is one, though it be damaged.
    """
    try:
        pieces = _plain(file)
        start = b""
        while len(start) < BLOCK and (piece := next(pieces, b"")):
            start += piece
        if len(start) < BLOCK or start[:BLOCK] == ZERO_BLOCK:
            return None
        parse_header(start[:BLOCK])
    except ConfigError:
        return None
    file.seek(0)
    return _plain(file)


def _plain(file: BinaryIO) -> Iterator[bytes]:
    start = file.read(len(_XZ))
    file.seek(0)
    if start.startswith(_BZIP2):
        return _opened(bz2.BZ2File(file))
    return _opened(lzma.LZMAFile(file)) if start == _XZ else decompress(file)


def _opened(content: bz2.BZ2File | lzma.LZMAFile) -> Iterator[bytes]:
    try:
        while piece := content.read(PIECE):
            yield piece
    except (EOFError, OSError, lzma.LZMAError) as error:
        raise ConfigError(f"its compressed content is damaged ({error})") from error

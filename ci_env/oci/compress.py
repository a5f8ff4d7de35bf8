"""Compression of layers to gzip and zstd, and the digests of both forms. Owns no name that anything is kept under."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from typing import Literal, Protocol, cast

from isal import isal_zlib

from ci_env.digest import Digest
from ci_env.frozen import dataclass
from ci_env.oci.verify import Reader

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Compression = Literal["gzip", "zstd"]

_PIECE = 2**20
_LEVEL = 2  # of 0 to 3. Measured on Debian's /usr: 300 MB/s, where zlib's level 6 takes 21 MB/s for 15 % less
_ZSTD_LEVEL = 3  # zstd's own default, and that of other tools: 59 MB/s for 16 % less than that; level 1: 197 MB/s, 5 %
_GZIP_WBITS = 31  # zlib.h, deflateInit2: a gzip header, without a name and with time 0


@dataclass(frozen=True, slots=True)
class Written:
    """Content that has been written, and what it is of."""

    digest: Digest
    size: int
    diff_id: Digest
    """digest of the plain content"""


class _Deflate(Protocol):
    """What isal's annotations leave out of its compressor."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def write_gzip(source: Reader, write: Callable[[bytes], object]) -> Written:
    """Give `source`, compressed, to `write`. The same content always gives the same bytes, on one kind of machine."""
    plain = hashlib.sha256()
    sink = _Sink(write)
    deflate = cast("_Deflate", isal_zlib.compressobj(_LEVEL, wbits=_GZIP_WBITS))  # pyright: ignore[reportUnknownMemberType]
    while piece := source.read(_PIECE):
        plain.update(piece)
        sink.put(deflate.compress(piece))
    sink.put(deflate.flush())
    return sink.written(Digest(f"sha256:{plain.hexdigest()}"))


def write_zstd(source: Reader, write: Callable[[bytes], object]) -> Written:
    """Give `source`, compressed, to `write`. The same content gives the same bytes, with one version of libzstd."""
    plain = hashlib.sha256()
    sink = _Sink(write)
    compressor = zstd.ZstdCompressor(level=_ZSTD_LEVEL)
    while piece := source.read(_PIECE):
        plain.update(piece)
        sink.put(compressor.compress(piece))
    sink.put(compressor.flush())
    return sink.written(Digest(f"sha256:{plain.hexdigest()}"))


def write_plain(source: Reader, write: Callable[[bytes], object]) -> Written:
    """Give `source` as it is to `write`."""
    sink = _Sink(write)
    while piece := source.read(_PIECE):
        sink.put(piece)
    return sink.written(None)


class _Sink:
    """Digests what is written."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._hash = hashlib.sha256()
        self._size = 0

    def put(self, content: bytes) -> None:
        self._hash.update(content)
        self._size += len(content)
        self._write(content)

    def written(self, diff_id: Digest | None) -> Written:
        digest = Digest(f"sha256:{self._hash.hexdigest()}")
        return Written(digest, self._size, diff_id or digest)

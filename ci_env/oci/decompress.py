"""Decompression of a layer as it comes: gzip, zstd or none, told apart by content. Memory is bounded by a few pieces.

The media type is not asked: several registries serve gzip as plain tar and the other way round.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import cast

from isal import igzip_lib

from ci_env.errors import ConfigError
from ci_env.oci.verify import Reader

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE = 2**20
_READ = 2**18
_GZIP = b"\x1f\x8b"
_GZIP_HEADER = 2**17  # an extra field has at most 64 KiB, and names and comments are short (RFC 1952)
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_WINDOW_LOG_MAX = 27  # 128 MiB, as the zstd command line and containers/image allow
_GZIP_ERROR = cast("type[Exception]", igzip_lib.IsalError)  # annotated as if it were an instance
_UNSUPPORTED = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}


def decompress(source: Reader) -> Iterator[bytes]:
    """Yield the plain content of `source` in pieces of at most 1 MiB; ConfigError if it is damaged or ends early."""
    source = _Peekable(source)
    start = source.peek(6)
    for magic, name in _UNSUPPORTED.items():
        if start.startswith(magic):
            raise ConfigError(f"the layer is compressed with {name}, which is not supported", hint="use gzip or zstd")
    if start.startswith(_GZIP):
        return _gunzip(source)
    if start.startswith(_ZSTD) or _is_skippable_frame(start):
        return _unzstd(source)
    return _pieces(source)


def _is_skippable_frame(start: bytes) -> bool:
    """Tell whether zstd content begins with metadata (RFC 8878 section 3.1.2), as zstd:chunked may."""
    return len(start) >= 4 and 0x50 <= start[0] <= 0x5F and start[1:4] == b"\x2a\x4d\x18"


class _Peekable:
    """Adds looking ahead to a reader, and taking bytes back."""

    def __init__(self, source: Reader) -> None:
        self._source = source
        self._held = b""

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes without taking them; fewer only at the end."""
        while len(self._held) < size and (piece := self._source.read(_READ)):
            self._held += piece
        return self._held[:size]

    def push_back(self, content: bytes) -> None:
        self._held = content + self._held

    def read(self, size: int, /) -> bytes:
        if not self._held:
            return self._source.read(size)
        piece, self._held = self._held[:size], self._held[size:]
        return piece


def _pieces(source: _Peekable) -> Iterator[bytes]:
    while piece := source.read(PIECE):
        yield piece


def _gunzip(source: _Peekable) -> Iterator[bytes]:
    """Yield the content of all members (RFC 1952 section 2.2); zeros after the last one are padding."""
    while source.peek(2) == _GZIP:
        yield from _gunzip_member(source)
    while rest := source.read(_READ):
        if rest.strip(b"\0"):
            raise ConfigError("the layer is damaged: something that is not gzip follows its gzip content")


def _gunzip_member(source: _Peekable) -> Iterator[bytes]:
    source.peek(_GZIP_HEADER)  # isal loses its place in a header of several fields that comes in pieces
    member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    try:
        while not member.eof:
            piece = source.read(_READ) if member.needs_input else b""
            if member.needs_input and not piece:
                raise ConfigError("the layer is damaged: its gzip content ends early")
            if plain := member.decompress(piece, PIECE):  # pyright: ignore[reportUnknownMemberType]
                yield plain
    except _GZIP_ERROR as error:
        raise ConfigError(f"the layer is damaged: its gzip content is invalid ({error})") from error
    source.push_back(member.unused_data)


def _unzstd(source: _Peekable) -> Iterator[bytes]:
    """Yield the content of all frames (RFC 8878 section 3.1)."""
    while source.peek(1):
        yield from _unzstd_frame(source)


def _unzstd_frame(source: _Peekable) -> Iterator[bytes]:
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG_MAX}
    frame = zstd.ZstdDecompressor(options=options)
    try:
        while not frame.eof:
            piece = source.read(_READ) if frame.needs_input else b""
            if frame.needs_input and not piece:
                raise ConfigError("the layer is damaged: its zstd content ends early")
            if plain := frame.decompress(piece, PIECE):
                yield plain
    except zstd.ZstdError as error:
        raise ConfigError(f"the layer is damaged: its zstd content is invalid ({error})") from error
    source.push_back(frame.unused_data)

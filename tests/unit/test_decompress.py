"""Decompression by content: members, frames, padding, damage and bombs. Ids: docs/images.md."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import sys
import tracemalloc
import zlib

import pytest

from ci_env.errors import ConfigError
from ci_env.oci.decompress import PIECE, decompress
from tests.oci_builder import compress

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONTENT = random.Random(1).randbytes(3 * PIECE + 17)
SKIPPABLE = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"abcd"


def plain(content: bytes) -> bytes:
    return b"".join(decompress(io.BytesIO(content)))


@pytest.mark.parametrize("content", [b"", b"x", CONTENT, bytes(PIECE), bytes(5 * PIECE)])
def test_z4_round_trips(content: bytes) -> None:
    assert plain(content) == content
    assert plain(compress(content, "gzip")) == content
    assert plain(compress(content, "zstd")) == content


def test_pieces_are_bounded() -> None:
    assert max(map(len, decompress(io.BytesIO(gzip.compress(bytes(2**26)))))) <= PIECE


def test_z1_padding() -> None:
    assert plain(gzip.compress(CONTENT) + bytes(5000)) == CONTENT


def test_z2_members() -> None:
    assert plain(b"".join(gzip.compress(CONTENT[at : at + PIECE]) for at in range(0, len(CONTENT), PIECE))) == CONTENT
    assert plain(gzip.compress(b"") + gzip.compress(b"x")) == b"x"


class Trickle:
    """Gives a few bytes at a time, as a slow network does."""

    def __init__(self, content: bytes, size: int) -> None:
        self._source = io.BytesIO(content)
        self._size = size

    def read(self, size: int, /) -> bytes:
        return self._source.read(min(size, self._size))


@pytest.mark.parametrize("size", [1, 3, 11])
@pytest.mark.parametrize("flags", range(32))
def test_z2_members_with_every_kind_of_header_come_in_pieces(flags: int, size: int) -> None:
    member = gzip.compress(CONTENT[:500], mtime=0)
    header = member[:3] + bytes([flags]) + member[4:10]
    header += b"\x05\x00extra" if flags & 4 else b""
    header += b"a name\0" if flags & 8 else b""
    header += b"a comment\0" if flags & 16 else b""
    header += (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little") if flags & 2 else b""
    assert b"".join(decompress(Trickle((header + member[10:]) * 2, size))) == CONTENT[:500] * 2


@pytest.mark.parametrize("junk", [b"junk", b"\0\0junk", b"\x1f\x8bjunk", b"\x1f"])
def test_z3_junk_after_gzip(junk: bytes) -> None:
    with pytest.raises(ConfigError, match="damaged"):
        plain(gzip.compress(CONTENT) + junk)


def test_z5_frames_and_metadata() -> None:
    unsized = zstd.ZstdCompressor()
    streamed = unsized.compress(b"streamed") + unsized.flush()
    assert plain(SKIPPABLE + zstd.compress(b"a") + SKIPPABLE + streamed + SKIPPABLE) == b"astreamed"


def test_z6_window_beyond_128_mib() -> None:
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 28,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    compressor = zstd.ZstdCompressor(options=options)
    frame = compressor.compress(b"x" * 1000) + compressor.flush()
    tracemalloc.start()
    with pytest.raises(ConfigError, match="zstd content is invalid"):
        plain(frame)
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


@pytest.mark.parametrize("form", ["gzip", "zstd"])
@pytest.mark.parametrize("cut", [1, 5, 1000])
def test_z8_truncated(form: str, cut: int) -> None:
    stored = compress(CONTENT, "gzip" if form == "gzip" else "zstd")
    with pytest.raises(ConfigError, match="ends early"):
        plain(stored[:-cut])


def test_z8_wrong_checksum() -> None:
    stored = bytearray(gzip.compress(CONTENT))
    stored[-6] ^= 1
    with pytest.raises(ConfigError, match="damaged"):
        plain(bytes(stored))


def test_junk_after_zstd() -> None:
    with pytest.raises(ConfigError, match="zstd content is invalid"):
        plain(zstd.compress(b"a") + b"junk")


@pytest.mark.parametrize(("stored", "name"), [(bz2.compress(b"x"), "bzip2"), (lzma.compress(b"x"), "xz")])
def test_z8_unsupported(stored: bytes, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}, which is not supported"):
        plain(stored)

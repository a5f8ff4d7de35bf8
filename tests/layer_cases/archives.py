"""Ends, damage and compression of archives."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import sys

from ci_env.errors import IntegrityError
from tests.layer_cases.case import BASE, Case, Stored, base, fails, shows
from tests.oci_builder import Item, entry, f, header, tar

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_FILE = f("file", random.Random(1).randbytes(9000))
_TREE = base(_FILE)
_PLAIN = tar([_FILE])
_GZIP = gzip.compress(_PLAIN, mtime=0)
_ZSTD = zstd.compress(_PLAIN)
_SKIPPABLE = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"abcd"
_JUNK = _PLAIN + b"junk" * 1000


def _raw(content: bytes) -> Stored:
    return Stored(content, content)


def _bad_checksum() -> bytes:
    second = bytearray(tar([f("second")]))
    second[0] ^= 1
    return entry(_FILE) + bytes(second)


def _wrong_crc() -> bytes:
    content = bytearray(_GZIP)
    content[-6] ^= 1
    return bytes(content)


def _unsized_frame(content: bytes) -> bytes:
    compressor = zstd.ZstdCompressor()
    return compressor.compress(content) + compressor.flush()


def _wide_frame(window_log: int) -> bytes:
    """Return a frame that asks its reader for a window of 2^`window_log` bytes (RFC 8878 section 3.1.1.1)."""
    return zstd.compress(b"")[:4] + b"\0" + bytes([(window_log - 10) << 3]) + b"\x01\0\0"


ARCHIVES = (
    Case(
        "T1",
        "bytes after the end",
        "read and ignored, but a part of the diff id",
        (
            shows(BASE, _raw(_JUNK), tree=_TREE),
            fails(BASE, Stored(_JUNK, _PLAIN), message="has digest", kind=IntegrityError),
        ),
    ),
    Case(
        "T2",
        "an archive cut in a file's content, in a header; in padding, without an end",
        "error; accepted, as the diff id is right",
        (
            fails(BASE, _raw(entry(_FILE)[:5000]), message="ends inside a file"),
            fails(BASE, _raw(entry(_FILE)[:300]), message="ends inside a header"),
            shows(BASE, _raw(entry(_FILE)[: 512 + 9000]), tree=_TREE),
            *(shows(BASE, _raw(entry(_FILE) + bytes(end)), tree=_TREE) for end in (0, 512, 10240)),
            fails(BASE, Stored(entry(_FILE), _PLAIN), message="has digest", kind=IntegrityError),
        ),
    ),
    Case(
        "T3",
        "a lone zero block between entries; two of them",
        "error; the end",
        (
            fails(BASE, _raw(entry(_FILE) + bytes(512) + tar([f("more")])), message="lone zero block"),
            shows(BASE, _raw(_PLAIN + tar([f("more")])), tree=_TREE),
        ),
    ),
    Case(
        "T4",
        "a wrong checksum in the middle",
        "error",
        (fails(BASE, _raw(_bad_checksum()), message="checksum is wrong"),),
    ),
    Case(
        "T5",
        "an archive of 0 bytes, of zero blocks only",
        "an empty layer",
        tuple(shows(BASE, _raw(bytes(size)), tree=BASE) for size in (0, 512, 1024, 10240)),
    ),
    Case(
        "T6",
        "headers that claim 32 GiB of content, 2^60 bytes of content or of name, or negative ones",
        "error; no case of this table takes a second, all of them less than 64 MiB",
        (
            fails(BASE, _raw(header(Item(b"x", b"0", size=2**35))), message="ends inside a file"),
            fails(BASE, _raw(header(Item(b"x", b"0", size=2**60))), message="larger than 64 GiB"),
            fails(BASE, _raw(header(Item(b"x", b"L", size=2**60))), message="an extended header claims"),
            fails(BASE, _raw(header(Item(b"x", b"x", size=-1))), message="an extended header claims"),
            fails(BASE, _raw(header(Item(b"x", b"0", size=-(2**40)))), message="claims a size"),
        ),
        tests=(
            "unit/test_tar.py::test_t6_claims_cost_neither_time_nor_memory",
            "kernel/test_layer_cases.py::test_t6_quickly_and_with_little_memory",
        ),
    ),
    Case("Z1", "zeros after gzip content", "accepted", (shows(BASE, Stored(_GZIP + bytes(5000), _PLAIN), tree=_TREE),)),
    Case(
        "Z2",
        "gzip of several members",
        "all of them",
        (
            shows(
                BASE,
                Stored(b"".join(gzip.compress(_PLAIN[at : at + 700]) for at in range(0, len(_PLAIN), 700)), _PLAIN),
                tree=_TREE,
            ),
        ),
    ),
    Case(
        "Z3",
        "something else after gzip or zstd content",
        "error",
        (
            *(
                fails(BASE, Stored(_GZIP + junk, _PLAIN), message="damaged")
                for junk in (b"junk", b"\0\0junk", b"\x1f\x8bjunk", b"\x1f")
            ),
            fails(BASE, Stored(_ZSTD + b"junk", _PLAIN), message="zstd content is invalid"),
        ),
    ),
    Case(
        "Z4",
        "content compressed otherwise than its media type says",
        "told by content; the type is not asked",
        (
            shows(BASE, Stored(_PLAIN, _PLAIN), tree=_TREE),
            shows(BASE, Stored(_GZIP, _PLAIN), tree=_TREE),
            shows(BASE, Stored(_ZSTD, _PLAIN), tree=_TREE),
        ),
        tests=("e2e/test_registry_faults.py::test_z4_compression_is_told_by_content",),
    ),
    Case(
        "Z5",
        "zstd with skippable frames, of several frames, without sizes",
        "all of them",
        (
            shows(
                BASE,
                Stored(
                    _SKIPPABLE + zstd.compress(_PLAIN[:700]) + _SKIPPABLE + _unsized_frame(_PLAIN[700:]) + _SKIPPABLE,
                    _PLAIN,
                ),
                tree=_TREE,
            ),
        ),
    ),
    Case(
        "Z6",
        "a zstd window of more than 128 MiB",
        "error, before memory is taken",
        tuple(fails(BASE, Stored(_wide_frame(log), b""), message="zstd content is invalid") for log in (28, 31)),
        tests=("unit/test_decompress.py::test_z6_window_beyond_128_mib",),
    ),
    Case(
        "Z7",
        "content without end, entries without end",
        "error beyond 64 GiB, and beyond 2 million entries; what was unpacked is removed",
        tests=(
            "kernel/test_layer_program.py::test_z7_too_large",
            "kernel/test_layer_program.py::test_z7_too_many_entries",
        ),
        deviation="the limits are fixed, and none is on the ratio: a large file of zeros is no attack",
    ),
    Case(
        "Z8",
        "compressed content that is cut, or has a wrong checksum; bzip2, xz",
        "error; error that says which is not supported",
        (
            *(fails(BASE, Stored(_GZIP[:-cut], _PLAIN), message="ends early") for cut in (1, 5, 1000)),
            *(fails(BASE, Stored(_ZSTD[:-cut], _PLAIN), message="ends early") for cut in (1, 5, 1000)),
            fails(BASE, Stored(_wrong_crc(), _PLAIN), message="gzip content is invalid"),
            fails(BASE, Stored(bz2.compress(_PLAIN), _PLAIN), message="bzip2, which is not supported"),
            fails(BASE, Stored(lzma.compress(_PLAIN), _PLAIN), message="xz, which is not supported"),
        ),
    ),
)

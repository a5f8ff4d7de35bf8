"""The tar reader: what it reads, and that what is wrong is a quick and cheap error. Ids: docs/images.md."""

from __future__ import annotations

import io
import tarfile
import time
import tracemalloc

import pytest

from ci_env.errors import ConfigError
from ci_env.oci.tar import Archive, Entry
from ci_env.oci.tar_header import number
from ci_env.oci.tar_pax import parse_pax
from tests.oci_builder import END, Item, d, entry, f, hard, header, link, pax_records, tar


def read(content: bytes, *, piece: int = 10_000) -> list[tuple[Entry, bytes]]:
    """Return all entries with their content, the archive given in pieces of `piece` bytes."""
    archive = Archive(content[at : at + piece] for at in range(0, len(content), piece))
    return [(item, b"".join(bytes(part) for part in iter(lambda: archive.read(700), b""))) for item in archive]


def only(content: bytes) -> Entry:
    ((item, _),) = read(content)
    return item


@pytest.mark.parametrize("piece", [1, 511, 512, 513, 100_000])
def test_entries_in_pieces_of_any_size(piece: int) -> None:
    found = read(tar([d("a"), f("a/f", "x" * 1000), link("l", "a"), hard("h", "a/f"), f("e")]), piece=piece)
    assert [(item.path, item.kind, item.link, content) for item, content in found] == [
        (b"a/", "directory", b"", b""),
        (b"a/f", "file", b"", b"x" * 1000),
        (b"l", "symlink", b"a", b""),
        (b"h", "hardlink", b"a/f", b""),
        (b"e", "file", b"", b""),
    ]


def test_content_may_be_left_unread() -> None:
    assert [item.path for item in Archive([tar([f("a", "x" * 5000), f("b")])])] == [b"a", b"b"]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_others_write(form: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        member = tarfile.TarInfo("n" * 90 + "/" + "m" * 60)
        member.size, member.mtime, member.uid, member.mode = 3, 1_234_567_890, 1000, 0o4755
        archive.addfile(member, io.BytesIO(b"abc"))
    ((item, content),) = read(buffer.getvalue())
    assert (item.path, content) == (b"n" * 90 + b"/" + b"m" * 60, b"abc")
    assert (item.mtime_ns, item.uid, item.mode) == (1_234_567_890 * 10**9, 1000, 0o4755)


def test_gnu_long_names() -> None:
    long = [header(Item(b"././@LongLink", kind, size=301)) + b"n" * 300 + b"\0" + bytes(211) for kind in (b"L", b"K")]
    item = only(b"".join(long) + header(Item(b"short", b"2", link=b"short")) + END)
    assert (item.path, item.link) == (b"n" * 300, b"n" * 300)


def test_contiguous_is_a_file() -> None:
    assert only(tar([Item(b"c", b"7", b"x")])).kind == "file"


def test_global_records_rename_nothing() -> None:
    content = pax_records({b"path": b"evil", b"size": b"0", b"mtime": b"5"})
    records = header(Item(b"g", b"g", size=len(content))) + content + bytes(-len(content) % 512)
    assert read(records + tar([f("good", "abc")]))[0][0].path == b"good"


def test_pax_overrides() -> None:
    item = only(tar([Item(b"n", b"0", b"abc", pax={b"path": b"p" * 4096, b"uid": b"7", b"mtime": b"1.000000001"})]))
    assert (item.path, item.uid, item.mtime_ns) == (b"p" * 4096, 7, 1_000_000_001)


def test_an_empty_record_takes_back() -> None:
    assert parse_pax(pax_records({b"path": b""})).path is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000644\0", 0o644),
        (b"   644 \0", 0o644),
        (b"644\0junk", 0o644),
        (b"\0" * 8, 0),
        (b"        ", 0),
        (b"\x80\0\0\0\0\0\x01\0", 256),
        (b"\xff" * 8, -1),
        (b"\xff" * 7 + b"\xfe", -2),
    ],
)
def test_numbers(field: bytes, value: int) -> None:
    assert number(field) == value


class TestEnds:
    """T1 to T5."""

    def test_what_follows_the_end_is_consumed_and_ignored(self) -> None:
        pieces = iter([tar([f("a")]), b"junk" * 1000])
        assert [item.path for item in Archive(pieces)] == [b"a"]
        assert next(pieces, None) is None

    @pytest.mark.parametrize("cut", [1, 511, 512, 700])
    def test_truncated_content(self, cut: int) -> None:
        with pytest.raises(ConfigError, match="ends inside a"):
            read(tar([f("a", "x" * 1000)], end=b"")[:-cut].removesuffix(bytes(24))[: 512 + 999])

    def test_truncated_header(self) -> None:
        with pytest.raises(ConfigError, match="ends inside a header"):
            read(tar([f("a")], end=b"")[:300])

    @pytest.mark.parametrize("end", [b"", bytes(512), bytes(1024), bytes(10240)])
    def test_sloppy_ends_are_ends(self, end: bytes) -> None:
        assert [item.path for item, _ in read(tar([f("a", "x")], end=end))] == [b"a"]

    def test_missing_padding_at_the_end(self) -> None:
        assert read(tar([f("a", "x")], end=b"")[: 512 + 1])[0][1] == b"x"

    def test_lone_zero_block(self) -> None:
        with pytest.raises(ConfigError, match="lone zero block"):
            read(tar([f("a")], end=bytes(512)) + tar([f("b")]))

    def test_pair_of_zero_blocks_ends(self) -> None:
        assert [item.path for item, _ in read(tar([f("a")]) + tar([f("b")]))] == [b"a"]

    @pytest.mark.parametrize("content", [b"", bytes(1024), bytes(512)])
    def test_empty(self, content: bytes) -> None:
        assert read(content) == []

    def test_bad_checksum_in_the_middle(self) -> None:
        second = bytearray(tar([f("b")]))
        second[0] ^= 1
        with pytest.raises(ConfigError, match="checksum"):
            read(tar([f("a")], end=b"") + bytes(second))


def _patched(item: Item, at: int, value: bytes) -> bytes:
    block = bytearray(header(item))
    block[at : at + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + END


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (tar([Item(b"", b"0")]), "no name"),
        (tar([Item(b"x", b"V")]), "unknown type 'V'"),
        (tar([Item(b"x", b"Z")]), "unknown type 'Z'"),
        (tar([Item(b"x", b"2", link=b"y", pax={b"GNU.sparse.size": b"0"})]), "x is a sparse symlink"),
        (tar([Item(b"x", b"2")]), "a link to nothing"),
        (tar([Item(b"x", b"0", size=-1)]), "claims a size of -1"),
        (tar([Item(b"x", b"0", pax={b"size": b"9" * 20})]), "claims a size of"),
        (tar([Item(b"x", b"0", pax={b"size": b"-1"})]), "is not a number"),
        (tar([Item(b"x", b"0", pax={b"path": b"a\0b"})]), "NUL"),
        (tar([Item(b"x", b"0", pax={b"path": b"p" * 4097})]), "longer than 4096"),
        (_patched(Item(b"x", b"0"), 124, b"9" * 11 + b"\0"), "not an octal number"),
        (_patched(Item(b"x", b"0"), 124, b"-7\0"), "not an octal number"),
        (header(Item(b"x", b"x", size=2**20 + 1)), "claims 1048577 bytes"),
        (header(Item(b"x", b"L", size=2**60)), "claims"),
        (header(Item(b"x", b"L", size=-1)), "claims -1 bytes"),
        (entry(Item(b"x", b"x", b"12 path=x")), "not `key=value`"),
        (entry(Item(b"x", b"x", b"0 a=b\n")), "without a length"),
        (entry(Item(b"x", b"x", b"99 a=b\n")), "not `key=value`"),
        (entry(Item(b"x", b"x", b"nonsense")), "without a length"),
        (entry(Item(b"x", b"x", b"10 path=x\n")) + END, "ends after an extended header"),
        (tar([f("x", mtime="1e9")]), "is not a time"),
    ],
)
def test_refused(content: bytes, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read(content)


@pytest.mark.parametrize(
    "content",
    [
        header(Item(b"x", b"0", size=2**62)),
        tar([Item(b"x", b"0", pax={b"size": b"9" * 18})]),
        header(Item(b"x", b"L", size=2**40)),
        header(Item(b"x", b"0", size=-(2**40))),
    ],
)
def test_t6_claims_cost_neither_time_nor_memory(content: bytes) -> None:
    tracemalloc.start()
    before = time.monotonic()
    with pytest.raises(ConfigError):
        read(content)
    assert time.monotonic() - before < 1
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()

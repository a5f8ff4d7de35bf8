"""Laws of the tar reader: archives come back as written, damaged ones end in our own errors, and soon."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator

from hypothesis import given
from hypothesis import strategies as st

from ci_env.errors import ConfigError
from ci_env.oci.decompress import decompress
from ci_env.oci.tar import Archive, Entry
from tests.layer_cases import sparse
from tests.oci_builder import Compression, Item, compress, tar

_names = st.binary(min_size=1, max_size=300).map(lambda raw: raw.replace(b"\0", b"x"))
_files = st.builds(
    Item,
    path=_names,
    type=st.just(b"0"),
    content=st.binary(max_size=1500),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 2),
    gid=st.integers(0, 2**32 - 2),
    mtime=st.integers(-(2**31), 2**34 - 2**31 - 1),
)
_links = st.builds(Item, path=_names, type=st.sampled_from([b"1", b"2"]), link=_names)
_items = st.lists(_files | _links, max_size=6)


def read(content: bytes, *, piece: int) -> list[tuple[Entry, bytes]]:
    archive = Archive(content[at : at + piece] for at in range(0, len(content), piece))
    return [(item, b"".join(bytes(part) for part in iter(lambda: archive.read(1000), b""))) for item in archive]


def error_of(act: Callable[[], object]) -> ConfigError | None:
    """Return the error of ours that `act` ends in; any other is the test's failure."""
    try:
        act()
    except ConfigError as error:
        return error
    return None


@given(_items, st.integers(1, 3000))
def test_round_trip(items: list[Item], piece: int) -> None:
    found = read(tar(items), piece=piece)
    assert [(item.path, content) for item, content in found] == [(item.path, item.content) for item in items]
    assert [item.link for item, _ in found] == [item.link for item in items]
    for (got, _), item in zip(found, items, strict=True):
        assert (got.mode, got.uid, got.gid, got.mtime_ns) == (item.mode, item.uid, item.gid, item.mtime * 10**9)


@given(_items, st.data())
def test_damage_is_an_error_of_ours_or_harmless(items: list[Item], data: st.DataObject) -> None:
    content = bytearray(tar(items))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + 1] = data.draw(st.binary(max_size=3))
        if not content:
            break
    outcome = error_of(lambda: read(bytes(content), piece=700))
    assert outcome is None or outcome.message.isprintable()


@st.composite
def _sparse_parts(draw: st.DrawFn) -> tuple[dict[int, bytes], int]:
    parts: dict[int, bytes] = {}
    at = 0
    for _ in range(draw(st.integers(0, 30))):
        at += draw(st.integers(0, 2000))
        parts[at] = draw(st.binary(min_size=1, max_size=600))
        at += len(parts[at])
    return parts, at + draw(st.integers(0, 100_000))


@given(_sparse_parts(), st.integers(1, 3000), st.integers(0, 3))
def test_sparse_files_are_whole(file: tuple[dict[int, bytes], int], piece: int, way: int) -> None:
    archive = sparse.ways(*file)[way]
    ((entry, content),) = read(archive, piece=piece)
    assert (entry.path, entry.size, content) == (b"sparse", file[1], sparse.content(*file))
    assert b"".join(compact(archive)) == b"".join(data for _, data in sorted(file[0].items()))


def compact(content: bytes) -> Iterator[bytes]:
    """Yield the content of all files without their holes."""
    archive = Archive([content])
    for _ in archive:
        archive.skip_hole()
        while data := bytes(archive.read(700)):
            archive.skip_hole()
            yield data


@given(_sparse_parts(), st.integers(0, 3), st.data())
def test_damaged_sparse_files_are_an_error_of_ours_or_harmless(
    file: tuple[dict[int, bytes], int], way: int, data: st.DataObject
) -> None:
    content = bytearray(sparse.ways(*file)[way])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
    outcome = error_of(lambda: list(compact(bytes(content))))
    assert outcome is None or outcome.message.isprintable()


@given(st.binary(max_size=3000))
def test_noise_is_an_error_of_ours_or_empty(content: bytes) -> None:
    error_of(lambda: b"".join(decompress(io.BytesIO(content))))
    error_of(lambda: read(content, piece=100))


@given(st.binary(max_size=3000), st.sampled_from(["gzip", "zstd"]), st.data())
def test_damaged_compression_is_an_error_of_ours_or_harmless(
    content: bytes, compression: Compression, data: st.DataObject
) -> None:
    stored = bytearray(compress(content, compression))
    at = data.draw(st.integers(0, len(stored) - 1))
    stored[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    outcome = error_of(lambda: b"".join(decompress(io.BytesIO(bytes(stored)))))
    assert outcome is None or outcome.message.isprintable()


@given(st.lists(st.tuples(st.text("abc/.é", min_size=1, max_size=150), st.binary(max_size=600)), max_size=4))
def test_agrees_with_another_writer(files: list[tuple[str, bytes]]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    found = read(buffer.getvalue(), piece=512)
    assert [(item.path, content) for item, content in found] == [(name.encode(), content) for name, content in files]

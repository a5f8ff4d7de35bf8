"""Law of the writer of archives: what it writes is read again as it was, by our reader and by Python's."""

from __future__ import annotations

import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from ci_env.oci.tar import Archive, Entry, Kind
from ci_env.oci.tar_write import END, header, padding

_names = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name and not name.endswith(b"/"))
_kinds: st.SearchStrategy[Kind] = st.sampled_from(["file", "directory", "symlink", "hardlink", "fifo"])
_xattrs = st.dictionaries(
    st.sampled_from([b"user.a", b"user.b", b"security.capability"]), st.binary(max_size=300), max_size=3
)


@st.composite
def entries(draw: st.DrawFn) -> tuple[Entry, bytes]:
    """Give an entry and its content."""
    kind = draw(_kinds)
    content = draw(st.binary(max_size=1200)) if kind == "file" else b""
    entry = Entry(
        path=draw(_names),
        kind=kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(st.integers(0, 2**32 - 2)),
        gid=draw(st.integers(0, 2**32 - 2)),
        mtime_ns=draw(st.integers(-(2**31) * 10**9, (2**34 - 2**31 - 1) * 10**9)),
        size=len(content),
        link=draw(_names) if kind in ("symlink", "hardlink") else b"",
        device=(0, 0),
        xattrs=draw(_xattrs),
    )
    return entry, content


@given(st.lists(entries(), max_size=4))
def test_what_is_written_is_read(items: list[tuple[Entry, bytes]]) -> None:
    archive = Archive([_archive(items)])
    found: list[tuple[Entry, bytes]] = []
    for entry in archive:
        content = b""
        while piece := archive.read(2**20):
            content += piece
        found.append((entry, content))
    assert found == items


@given(entries())
def test_python_reads_the_same(item: tuple[Entry, bytes]) -> None:
    entry, content = item
    with tarfile.open(fileobj=io.BytesIO(_archive([item])), errors="surrogateescape") as tar:
        (member,) = tar.getmembers()
        assert (member.mode, member.uid, member.gid, member.size) == (entry.mode, entry.uid, entry.gid, entry.size)
        if len(entry.path) <= 100:  # longer ones that are not UTF-8 it decodes otherwise
            assert member.name.encode(errors="surrogateescape") == entry.path
        if entry.kind == "file":
            extracted = tar.extractfile(member)
            assert extracted is not None
            assert extracted.read() == content


def test_sizes_beyond_the_header() -> None:
    entry = Entry(b"large", "file", 0o644, 0, 0, 0, 2**40, b"", (0, 0), {})
    assert next(iter(Archive([header(entry)]))) == entry


def _archive(items: list[tuple[Entry, bytes]]) -> bytes:
    return b"".join(header(entry) + content + padding(len(content)) for entry, content in items) + END

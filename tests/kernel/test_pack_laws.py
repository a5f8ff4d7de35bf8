"""Laws of packing: what an archive holds survives a layer (K3), and what a layer holds survives an archive, exactly."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ci_env.oci.layer import apply
from ci_env.oci.pack import pack
from ci_env.oci.tar import Archive
from tests.layer_stack import Stack
from tests.oci_builder import Item, d, f, hard, link, opaque, wh

_PATHS = ["a", "b", "ü", "a/a", "a/b", "b/a", "a/a/a", "a/a/b", "a/b/" + "n" * 120]
_paths = st.sampled_from(_PATHS)
_modes = st.sampled_from([0o644, 0o600, 0o4755, 0o1777, 0o400])
_times = st.sampled_from(["0", "1000000000.5", "-1.25", "4294967296", "1.000000001"])
_owners = st.integers(0, 65535) if os.geteuid() == 0 else st.just(0)


def _file(path: str, content: bytes, mode: int, mtime: str, owner: int) -> Item:
    return replace(f(path, content, mode=mode, uid=owner, gid=owner), pax={b"mtime": mtime.encode()})


def _attributed(path: str, value: bytes) -> Item:
    return replace(f(path), pax={b"SCHILY.xattr.user.note": value})


def _directory(path: str, mode: int) -> Item:
    return d(path, mode=mode | 0o700)


def _fifo(path: str) -> Item:
    return Item(path.encode(), b"6")


_items = st.one_of(
    st.builds(_file, _paths, st.binary(max_size=1500), _modes, _times, _owners),
    st.builds(_directory, _paths, _modes),
    st.builds(_attributed, _paths, st.binary(max_size=20)),
    st.builds(link, _paths, st.sampled_from(["../x", "n" * 200, "nowhere"])),
    st.builds(_fifo, _paths),
    st.builds(wh, _paths),
    st.builds(opaque, _paths),
)
_layers = st.lists(st.lists(_items, max_size=8), min_size=1, max_size=3)


def usable(items: Sequence[Item]) -> list[Item]:
    """Return `items`, a path once, with a hard link to one of the files, and no symlink as a parent."""
    by_path = {item.path.rstrip(b"/"): item for item in items}
    links = {path for path, item in by_path.items() if item.type == b"2"}
    kept = [item for item in by_path.values() if not any(item.path.startswith(path + b"/") for path in links)]
    at = next((at for at, item in enumerate(kept) if item.type == b"0" and b".wh." not in item.path), None)
    return kept if at is None else [*kept[: at + 1], hard("linked", kept[at].path.decode()), *kept[at + 1 :]]


def packed(root: Path) -> bytes:
    """Return the archive of the layer whose `root` is given."""
    pieces: list[bytes] = []
    with tempfile.TemporaryDirectory(dir=root.parent) as layer:
        root.rename(Path(layer) / "root")
        try:
            pack(Path(layer), pieces.append)
        finally:
            (Path(layer) / "root").rename(root)
    return b"".join(pieces)


def again(content: bytes, destination: Path, lowers: Sequence[Path]) -> Path:
    destination.mkdir()
    apply(Archive([content]), destination, lowers, squash_ids=os.geteuid() != 0)
    return destination


# A directory that hides what is below it, in one that is told later to do so, too.
_HIDDEN_TWICE = [[f("a"), d("a/a"), f("b")], [f("b"), _fifo("a/a"), f("a/a/a"), wh("a")]]


@example(_HIDDEN_TWICE)
@settings(max_examples=60, deadline=None)
@given(_layers)
def test_a_layer_survives_its_archive(layers: list[list[Item]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        stack = Stack(Path(name) / "one", *[usable(items) for items in layers])
        lowers: list[Path] = []
        for number, root in enumerate(stack.lowers):
            content = packed(root)
            lowers.append(again(content, Path(name) / str(number), lowers))
            assert packed(lowers[-1]) == content


@settings(max_examples=20, deadline=None)
@given(_layers)
def test_k3_the_merged_view_survives_archives(layers: list[list[Item]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        one = Stack(Path(name) / "one", *[usable(items) for items in layers])
        two = Stack(Path(name) / "two")
        for root in one.lowers:
            two.add_tar(packed(root))
        views = [{path: replace(node, inode=0) for path, node in stack.view().items()} for stack in (one, two)]
        assert views[0] == views[1]

"""Trees of files, as cases expect them and as they are found."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from ci_env.oci.merged import Directory, MergedView
from tests.layer_cases.case import name
from tests.oci_builder import Item

_XATTR = b"SCHILY.xattr."
_KINDS = {b"0": "-", b"5": "d", b"2": "l", b"6": "p"}
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True)
class Node:
    """One file, but for its name."""

    kind: str
    """as the first letter of `ls -l`"""
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    content: str
    """of a file (as Latin-1), or a symlink's target"""
    xattrs: Mapping[str, str]
    names: list[str]
    """all of them, of what is no directory"""
    links: int
    """as stat(2) says; 0 for a directory"""


Tree = dict[str, Node]
"""nodes by path; `.` is the root"""

_UNLISTED = Node("d", 0o755, 0, 0, 0, "", {}, [], 0)


def expected(items: Sequence[Item], *, squashed: bool) -> Tree:
    """Return the tree that `items` list, with all owners 0 if `squashed`."""
    listed = {name(item): item for item in items}
    groups: dict[str, list[str]] = {path: [] for path in listed}
    for path, item in listed.items():
        groups[item.link.decode().strip("/") if item.type == b"1" else path].append(path)
    tree: Tree = {".": _UNLISTED}
    for target, names in groups.items():
        for path in names:
            node = _node(listed[target], sorted(names))
            tree[path] = replace(node, uid=0, gid=0) if squashed else node
            parts = path.split("/")[:-1]
            for end in range(1, len(parts) + 1):
                tree.setdefault("/".join(parts[:end]), _UNLISTED)
    return tree | {path: tree[path] for path in listed}


def _node(item: Item, names: Sequence[str]) -> Node:
    kind = _KINDS[item.type]
    content = item.content.decode("latin-1") if kind == "-" else os.fsdecode(item.link)
    xattrs = {
        key.removeprefix(_XATTR).decode(): value.decode("latin-1")
        for key, value in item.pax.items()
        if key.startswith(_XATTR)
    }
    mtime_ns = int(Decimal(item.pax[b"mtime"].decode()) * 10**9) if b"mtime" in item.pax else item.mtime * 10**9
    is_directory = kind == "d"
    return Node(
        kind,
        item.mode,
        item.uid,
        item.gid,
        mtime_ns,
        content,
        xattrs,
        [] if is_directory else list(names),
        0 if is_directory else len(names),
    )


def read_directory(directory: int) -> Tree:
    """Return what is in an open directory."""
    found = _Found()
    found.add(".", directory, None)
    _read_below(directory, "", found)
    return found.tree()


def _read_below(directory: int, prefix: str, found: _Found) -> None:
    for child in os.listdir(directory):
        found.add(prefix + child, directory, child)
        if stat.S_ISDIR(os.stat(child, dir_fd=directory, follow_symlinks=False).st_mode):
            below = os.open(child, _OPEN, dir_fd=directory)
            _read_below(below, f"{prefix}{child}/", found)
            os.close(below)


def read_merged(view: MergedView) -> Tree:
    """Return what the layers of a view show together, as the product joins them where no overlay is mounted."""
    found = _Found()
    found.add(".", view.root.lowers[0], None)
    _read_merged_below(view, view.root, found)
    return found.tree()


def _read_merged_below(view: MergedView, directory: Directory, found: _Found) -> None:
    for child in directory.lower_names():
        path = directory.path + b"/" + child
        known = directory.lower_find(child)
        assert known is not None
        if stat.S_ISDIR(known[1].st_mode):
            below = view.directory(path)
            found.add(os.fsdecode(path[1:]), below.lowers[0], None)
            _read_merged_below(view, below, found)
        else:
            found.add(os.fsdecode(path[1:]), known[0], os.fsdecode(child))


class _Found:
    def __init__(self) -> None:
        self._nodes: Tree = {}
        self._names: dict[tuple[int, int], list[str]] = {}
        self._inodes: dict[str, tuple[int, int]] = {}

    def add(self, path: str, directory: int, child: str | None) -> None:
        """Add the file `child` of an open directory, or the directory itself."""
        status = os.fstat(directory) if child is None else os.stat(child, dir_fd=directory, follow_symlinks=False)
        is_directory = stat.S_ISDIR(status.st_mode)
        content, xattrs = _opened(status, directory, child)
        self._nodes[path] = Node(
            stat.filemode(status.st_mode)[0],
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns,
            content,
            xattrs,
            [],
            0 if is_directory else status.st_nlink,
        )
        if not is_directory:
            self._inodes[path] = status.st_dev, status.st_ino
            self._names.setdefault(self._inodes[path], []).append(path)

    def tree(self) -> Tree:
        names = {path: sorted(self._names[inode]) for path, inode in self._inodes.items()}
        return {path: replace(node, names=names.get(path, [])) for path, node in self._nodes.items()}


def _opened(status: os.stat_result, directory: int, child: str | None) -> tuple[str, dict[str, str]]:
    """Return the content and attributes of what has them."""
    if stat.S_ISLNK(status.st_mode) and child is not None:
        return os.readlink(child, dir_fd=directory), {}
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        return "", {}
    descriptor = os.open(child or ".", _OPEN, dir_fd=directory)
    try:
        content = os.pread(descriptor, status.st_size, 0) if stat.S_ISREG(status.st_mode) else b""
        return content.decode("latin-1"), _attributes(descriptor)
    finally:
        os.close(descriptor)


def _attributes(descriptor: int) -> dict[str, str]:
    """Return what an image may set; an overlay hides its own attributes, a layer has them."""
    names = [name for name in os.listxattr(descriptor) if name.startswith(("user.", "security.capability"))]
    shown = [name for name in names if not name.startswith("user.overlay.")]
    return {name: os.getxattr(descriptor, name).decode("latin-1") for name in shown}

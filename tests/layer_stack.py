"""Layers applied one on another, and what a real overlay of them shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ci_env.oci.layer import Applied, apply
from ci_env.oci.tar import Archive
from tests.oci_builder import Item, tar

# Runs in a mount namespace of its own: argv = mount point, lower directories (top first).
_SHOW = r"""
import base64, json, os, stat, subprocess, sys
root, lowers = sys.argv[1], sys.argv[2:]
options = "userxattr,lowerdir=" + ":".join(lowers)
subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, root], check=True)
found, names = {}, {}
def show(path, name):
    s = os.lstat(path)
    kind = stat.filemode(s.st_mode)[0]
    content = ""
    if kind == "-":
        try:
            with open(path, "rb") as file:
                content = file.read().decode("latin-1")
        except PermissionError:
            content = "unreadable"
    elif kind == "l":
        content = os.fsdecode(os.readlink(path))
    attributes = {}
    if kind != "l":
        for a in os.listxattr(path, follow_symlinks=False):
            if a.startswith("user."):
                attributes[a] = os.getxattr(path, a).decode("latin-1")
    owner = [s.st_uid, s.st_gid]
    found[name] = [kind, s.st_mode & 0o7777, *owner, s.st_mtime_ns, content, attributes, s.st_nlink, s.st_ino]
    if kind == "d":
        for child in sorted(os.listdir(path)):
            show(os.path.join(path, child), child if name == "." else name + "/" + child)
show(root, ".")
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Node:
    """One file of the merged view."""

    kind: str
    """as the first letter of `ls -l`"""
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    content: str
    """of a file (as Latin-1), or a symlink's target"""
    xattrs: dict[str, str]
    links: int
    inode: int


class Stack:
    """Layers below one directory; `applied` is what the last `add` reported."""

    def __init__(self, directory: Path, *layers: Sequence[Item]) -> None:
        self._directory = directory
        self.lowers: list[Path] = []
        self.applied: Applied | None = None
        for items in layers:
            self.add(items)

    def add(self, items: Sequence[Item]) -> Stack:
        """Apply one more layer on top."""
        return self.add_tar(tar(items))

    def add_tar(self, content: bytes, *, squash_ids: bool = os.geteuid() != 0) -> Stack:
        destination = self._directory / f"layer{len(self.lowers)}"
        destination.mkdir(parents=True)
        self.applied = apply(Archive([content]), destination, self.lowers, squash_ids=squash_ids)
        self.lowers.append(destination)
        return self

    def view(self) -> dict[str, Node]:
        """Return what an overlay of the layers shows, by path."""
        empty = self._directory / "empty"
        point = self._directory / "point"
        empty.mkdir(exist_ok=True)
        point.mkdir(exist_ok=True)
        # a read-only overlay needs two lower directories
        lowers = [*reversed([str(path) for path in self.lowers]), str(empty)]
        namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
        argv = [*namespace, sys.executable, "-I", "-c", _SHOW, str(point), *lowers]
        output = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
        return {path: Node(*fields) for path, fields in json.loads(output).items()}

    def names(self) -> set[str]:
        """Return all paths that an overlay of the layers shows."""
        return set(self.view()) - {"."}

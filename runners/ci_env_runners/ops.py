"""Mount operations as plain data, in the order of their execution. Pure: planned by sandbox.py, executed by mounts.py.

A target is a path inside the new root, resolved there; a source is a path on the host, or below the store where it is
relative. Standard library only.
"""

from __future__ import annotations

from typing import NamedTuple, cast


class Overlay(NamedTuple):
    """An overlayfs of this user namespace."""

    target: str
    lowers: tuple[str, ...]
    """bottom first"""
    upper: str
    work: str

    def describe(self) -> str:
        return f"mount an overlay of {len(self.lowers)} layers on {self.target}"


class Filesystem(NamedTuple):
    """A new filesystem of the kernel's."""

    kind: str
    target: str
    attributes: int
    """MOUNT_ATTR_*"""
    options: tuple[tuple[str, str], ...] = ()

    def describe(self) -> str:
        return f"mount {self.kind} on {self.target}"


class Bind(NamedTuple):
    """A directory or file of the host, with all that is mounted below it where `recursive`."""

    source: str
    target: str
    attributes: int
    recursive: bool

    def describe(self) -> str:
        return f"bind {self.source} to {self.target}"


class Text(NamedTuple):
    """A file with this content, seen at `target` and no part of any layer."""

    target: str
    content: str
    is_optional: bool = False
    """leave it out where its directory is none"""

    def describe(self) -> str:
        return f"provide {self.target}"


class Copy(NamedTuple):
    """A host directory, copied to a directory that the overlays after it name as `copy:NAME`.

    For directories with mounts in them, which overlayfs refuses as a lower layer of a user namespace.
    """

    source: str
    name: str

    def describe(self) -> str:
        return f"copy {self.source}"


class Directory(NamedTuple):
    """A directory, made where there is nothing."""

    target: str
    mode: int

    def describe(self) -> str:
        return f"make the directory {self.target}"


class Symlink(NamedTuple):
    """A symbolic link, made where there is nothing."""

    target: str
    to: str

    def describe(self) -> str:
        return f"make the link {self.target}"


class Mask(NamedTuple):
    """Hide what is at `target`, if anything: a file behind /dev/null, a directory behind an empty one."""

    target: str

    def describe(self) -> str:
        return f"mask {self.target}"


class MaskOfEach(NamedTuple):
    """Hide the directory `name` in each of the directories in `target` that are called `prefix` and a number."""

    target: str
    prefix: str
    name: str

    def describe(self) -> str:
        return f"mask {self.target}/{self.prefix}*/{self.name}"


class ReadOnly(NamedTuple):
    """Make what is at `target`, if anything, read-only."""

    target: str

    def describe(self) -> str:
        return f"make {self.target} read-only"


Op = Overlay | Filesystem | Bind | Text | Copy | Directory | Symlink | Mask | MaskOfEach | ReadOnly


class Spec(NamedTuple):
    """Everything that a sandbox is made of, and the process in it."""

    ops: tuple[Op, ...]
    namespaces: int
    """CLONE_NEW*"""
    hostname: str
    reaches_nothing: bool
    """its network leads nowhere, and what tries to get out is to be told of"""
    argv: tuple[str, ...]
    env: dict[str, str]
    """without HOME: the home of `user` in the rootfs"""
    user: str
    workdir: str
    umask: int
    ids: int
    """how many user and group ids there are inside, from 0"""
    seccomp: str
    """a filter in hexadecimal"""
    terminal: bool
    """give the process a terminal of its own"""
    open_files: int
    """of one process; 0: as many as is usual"""
    processes: int
    """of the process's user in all sandboxes of the run; 0: no such limit"""
    data_bytes: int
    """of one process; 0: no such limit"""
    disk_bytes: int
    """of what is below `written`; 0: no such limit"""
    written: str
    """the directory that takes what the sandbox writes, below the store"""
    secrets: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """names of files, and of variables that hold the same; their values come in a message after this one"""
    cpus: int = 0
    """how many of the processors that the caller may use the process may, at most; 0: all"""


_KINDS: dict[str, type[Op]] = {
    kind.__name__: kind
    for kind in (Overlay, Filesystem, Bind, Text, Copy, Directory, Symlink, Mask, MaskOfEach, ReadOnly)
}


def to_wire(spec: Spec) -> list[object]:
    """Return `spec` as JSON data."""
    return [[(type(op).__name__, *op) for op in spec.ops], *spec[1:]]


def from_wire(data: list[object]) -> Spec:
    """Undo `to_wire`, also after a trip through JSON."""
    ops, *rest = data
    assert isinstance(ops, list)
    return Spec(tuple(_op(*item) for item in ops), *map(_frozen, rest))  # type: ignore[arg-type]  # to_wire wrote it


def _op(kind: str, *fields: object) -> Op:
    return _KINDS[kind](*(_frozen(field) for field in fields))  # type: ignore[arg-type]  # as above


def _frozen(value: object) -> object:
    items = cast("list[object]", value)
    return tuple(_frozen(item) for item in items) if isinstance(value, list | tuple) else value

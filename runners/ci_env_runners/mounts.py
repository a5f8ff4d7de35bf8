"""Executes mount operations: makes the root of a sandbox. Runs inside, as root of the user namespace.

Every mount goes to a descriptor, which newroot.py has found below the new root. Standard library only.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from ci_env_runners import syscalls
from ci_env_runners.newroot import NewRoot
from ci_env_runners.ops import Bind, Copy, Directory, Filesystem, Mask, MaskOfEach, Op, Overlay, ReadOnly, Symlink, Text

_FIND = os.O_PATH | os.O_CLOEXEC
_TO_DESCRIPTOR = syscalls.MOVE_MOUNT_F_EMPTY_PATH | syscalls.MOVE_MOUNT_T_EMPTY_PATH
_HIDDEN = (
    syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOEXEC
)
_OVERLAY = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
_OVERLAY_FLAGS = ("userxattr", "volatile")
"""volatile: nothing is synced to disk, above all not when it is unmounted; the store sees to that, once for a run"""
_SPACE = "mnt"
"""an empty directory of the store; a filesystem of this mount namespace lies there"""
_ROOT = f"{_SPACE}/root"
_COPY = "copy:"


class Failed(Exception):  # a result, told to whom it concerns
    """An operation that could not be done: `what`, and the errno with the system call that gave it."""

    def __init__(self, what: str, error: OSError) -> None:
        super().__init__(what)
        self.what = what
        self.errno = error.errno or 0
        self.call = str(error.filename or "")


def build(ops: tuple[Op, ...]) -> None:
    """Execute `ops`, with the store as current directory, and make the result the root. The host is gone afterwards."""
    try:
        space = syscalls.fsopen("tmpfs")
        syscalls.fsconfig(space, syscalls.FSCONFIG_SET_STRING, "mode", "0755")
        place = os.open(_SPACE, _FIND)
        _attach(_created(space, 0), place)
        os.close(place)  # no descriptor of a directory outside may be left: it leads back there
        for name in ("root", "files", "copies"):
            os.mkdir(f"{_SPACE}/{name}", 0o755)
    except OSError as error:
        raise Failed("make room for the root filesystem", error) from error
    first, *others = ops
    with _telling(first):
        assert isinstance(first, Overlay), "the root comes first"
        _mount_overlay(first, os.open(_ROOT, _FIND | os.O_DIRECTORY))
        root = NewRoot(_ROOT)
    for op in others:
        with _telling(op):
            _execute(op, root)
    root.close()
    try:
        _enter()
    except OSError as error:
        raise Failed("enter the root filesystem", error) from error


@contextmanager
def _telling(op: Op) -> Generator[None]:
    """Say what was being done when a system call failed."""
    try:
        yield
    except OSError as error:
        raise Failed(op.describe(), error) from error


def _execute(op: Op, root: NewRoot) -> None:
    match op:
        case Overlay():
            _mount_overlay(op, root.directory(op.target))
        case Filesystem():
            _mount_filesystem(op, root)
        case Bind():
            _bind(op, root)
        case Text():
            _provide(op, root)
        case Copy():
            _copy(op.source, f"{_SPACE}/copies/{op.name}")
        case Directory():
            _have_directory(op, root)
        case Symlink():
            _have_symlink(op, root)
        case Mask() | MaskOfEach():
            _mask(op, root)
        case ReadOnly():
            _make_read_only(op.target, root)


def _enter() -> None:
    """Swap roots and let go of the old one, by the descriptor: the same place holds both (pivot_root(2), NOTES)."""
    os.chdir(_ROOT)
    syscalls.pivot_root(".", ".")
    syscalls.umount(".", syscalls.MNT_DETACH)
    os.chdir("/")


def _mount_overlay(op: Overlay, target: int) -> None:
    """Mount an overlay on the descriptor `target`, which is closed."""
    lowers = [_lower(lower) for lower in op.lowers]
    try:
        filesystem = syscalls.fsopen("overlay")
        try:
            for lower in reversed(lowers):  # the first one given is the topmost
                syscalls.fsconfig(filesystem, syscalls.FSCONFIG_SET_STRING, "lowerdir+", lower)
        except OSError as error:
            os.close(filesystem)
            if error.errno != errno.EINVAL:
                raise
            _mount_overlay_at_once(op, lowers, target)  # Linux before 6.7 has no `lowerdir+`
            return
        for name, value in (("upperdir", op.upper), ("workdir", op.work)):
            syscalls.fsconfig(filesystem, syscalls.FSCONFIG_SET_STRING, name, value)
        for name in _OVERLAY_FLAGS:
            syscalls.fsconfig(filesystem, syscalls.FSCONFIG_SET_FLAG, name, None)
        _attach(_created(filesystem, _OVERLAY), target)
    finally:
        os.close(target)


def _mount_overlay_at_once(op: Overlay, lowers: list[str], target: int) -> None:
    options = f"lowerdir={':'.join(reversed(lowers))},upperdir={op.upper},workdir={op.work},{','.join(_OVERLAY_FLAGS)}"
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("overlay", f"/proc/self/fd/{target}", "overlay", flags, options)


def _lower(lower: str) -> str:
    return f"{_SPACE}/copies/{lower.removeprefix(_COPY)}" if lower.startswith(_COPY) else lower


def _mount_filesystem(op: Filesystem, root: NewRoot) -> None:
    target = root.own_directory(op.target)
    try:
        filesystem = syscalls.fsopen(op.kind)
        for name, value in op.options:
            if value:
                syscalls.fsconfig(filesystem, syscalls.FSCONFIG_SET_STRING, name, value)
            else:
                syscalls.fsconfig(filesystem, syscalls.FSCONFIG_SET_FLAG, name, None)
        _attach(_created(filesystem, op.attributes), target)
    finally:
        os.close(target)


def _bind(op: Bind, root: NewRoot) -> None:
    flags = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC | (syscalls.AT_RECURSIVE if op.recursive else 0)
    tree = syscalls.open_tree(syscalls.AT_FDCWD, op.source, flags)
    find = root.own_directory if op.recursive else root.directory
    target = find(op.target) if stat.S_ISDIR(os.fstat(tree).st_mode) else root.file(op.target)
    try:
        _set_attributes(tree, op.attributes, recursive=op.recursive)
        _attach(tree, target)
    finally:
        os.close(target)


def _provide(op: Text, root: NewRoot) -> None:
    if op.is_optional and not root.has_directory(op.target.rpartition("/")[0]):
        return
    source = f"{_SPACE}/files/{op.target.replace('/', '_')}"
    with open(source, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(op.content)
        os.fchmod(file.fileno(), 0o644)
    target = root.file(op.target)
    tree = syscalls.open_tree(syscalls.AT_FDCWD, source, syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC)
    _set_attributes(tree, syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOEXEC)
    _attach(tree, target)
    os.close(target)


def _copy(source: str, destination: str) -> None:
    """Copy what can be read; devices, sockets and what others may not read are left out, as they could not be used."""
    os.mkdir(destination, 0o755)
    with os.scandir(source) as entries:
        for entry in entries:
            path = f"{destination}/{entry.name}"
            try:
                if entry.is_symlink():
                    os.symlink(os.readlink(entry.path), path)
                elif entry.is_dir():
                    _copy(entry.path, path)
                elif entry.is_file():
                    _copy_file(entry.path, path)
            except PermissionError:
                continue


def _copy_file(source: str, destination: str) -> None:
    with open(source, "rb") as reader:
        found = os.fstat(reader.fileno())
        with open(destination, "wb") as writer:
            while piece := reader.read(1 << 20):
                writer.write(piece)
        os.chmod(destination, stat.S_IMODE(found.st_mode) & ~0o6000)
        os.utime(destination, ns=(found.st_mtime_ns, found.st_mtime_ns))


def _have_directory(op: Directory, root: NewRoot) -> None:
    found = root.find(op.target)
    if found is None:
        os.close(root.directory(op.target))
        parent, name = root.parent(op.target)
        os.chmod(name, op.mode, dir_fd=parent)
        os.close(parent)
    else:
        os.close(found)


def _have_symlink(op: Symlink, root: NewRoot) -> None:
    parent, name = root.parent(op.target)
    try:
        os.symlink(op.to, name, dir_fd=parent)
    except FileExistsError:
        pass
    finally:
        os.close(parent)


def _mask(op: Mask | MaskOfEach, root: NewRoot) -> None:
    for target in _masked(op, root):
        _hide(target, root)


def _masked(op: Mask | MaskOfEach, root: NewRoot) -> Iterator[str]:
    """Yield what to mask. The kernel numbers from 0 on; where the first has nothing to mask, none has."""
    if isinstance(op, Mask):
        yield op.target
        return
    for number in itertools.count():
        found = root.find(target := f"{op.target}/{op.prefix}{number}/{op.name}")
        if found is None:
            return
        os.close(found)
        yield target


def _hide(target: str, root: NewRoot) -> None:
    found = root.find(target)
    if found is None:
        return
    if stat.S_ISDIR(os.fstat(found).st_mode):
        filesystem = syscalls.fsopen("tmpfs")
        _attach(_created(filesystem, _HIDDEN), found)
    else:
        flags = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC
        tree = syscalls.open_tree(syscalls.AT_FDCWD, "/dev/null", flags)
        _set_attributes(tree, syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NOEXEC)
        _attach(tree, found)
    os.close(found)


def _make_read_only(target: str, root: NewRoot) -> None:
    found = root.find(target)
    if found is None:
        return
    flags = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC | syscalls.AT_EMPTY_PATH | syscalls.AT_RECURSIVE
    tree = syscalls.open_tree(found, "", flags)
    _set_attributes(tree, _HIDDEN, recursive=True)
    _attach(tree, found)
    os.close(found)


def _created(filesystem: int, attributes: int) -> int:
    """Return a detached mount of a configured filesystem, whose context is closed."""
    try:
        syscalls.fsconfig(filesystem, syscalls.FSCONFIG_CMD_CREATE, None, None)
        return syscalls.fsmount(filesystem, attributes)
    finally:
        os.close(filesystem)


def _set_attributes(tree: int, attributes: int, *, recursive: bool = False) -> None:
    if attributes:
        flags = syscalls.AT_EMPTY_PATH | (syscalls.AT_RECURSIVE if recursive else 0)
        syscalls.mount_setattr(tree, "", flags, attributes)


def _attach(mount: int, target: int) -> None:
    """Attach a detached mount, and close it."""
    try:
        syscalls.move_mount(mount, "", target, "", _TO_DESCRIPTOR)
    finally:
        os.close(mount)

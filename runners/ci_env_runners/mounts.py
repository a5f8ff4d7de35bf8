"""Executes mount operations: makes the new root of a sandbox. Runs inside, as root of the user namespace.

Every target is resolved below the new root by the kernel (openat2, RESOLVE_IN_ROOT), and every mount goes to the
descriptor that this gave: no symlink of an image, and no race with a process that shares a mount, leads elsewhere
(CVE-2021-30465, CVE-2019-19921). Standard library only.
"""

from __future__ import annotations

import errno
import os
import stat

from ci_env_runners import syscalls
from ci_env_runners.ops import Bind, Copy, Directory, Filesystem, Mask, Op, Overlay, ReadOnly, Symlink, Text

_FIND = os.O_PATH | os.O_CLOEXEC
_RESOLVE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_TO_DESCRIPTOR = syscalls.MOVE_MOUNT_F_EMPTY_PATH | syscalls.MOVE_MOUNT_T_EMPTY_PATH
_HIDDEN = (
    syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOEXEC
)
_LINKS = 8
_OVERLAY = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
_SPACE = "mnt"
"""an empty directory of the store; a filesystem of this mount namespace lies there"""
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
        _attach(_created(space, 0), os.open(_SPACE, _FIND))
        for name in ("root", "files", "copies"):
            os.mkdir(f"{_SPACE}/{name}", 0o755)
    except OSError as error:
        raise Failed("make room for the root filesystem", error) from error
    for op in ops:
        try:
            _execute(op)
        except OSError as error:
            raise Failed(op.describe(), error) from error
    try:
        _enter()
    except OSError as error:
        raise Failed("enter the root filesystem", error) from error


def _execute(op: Op) -> None:
    match op:
        case Overlay():
            _mount_overlay(op)
        case Filesystem():
            _mount_filesystem(op)
        case Bind():
            _bind(op)
        case Text():
            _provide(op)
        case Copy():
            _copy(op.source, f"{_SPACE}/copies/{op.name}")
        case Directory():
            _have_directory(op)
        case Symlink():
            _have_symlink(op)
        case Mask():
            _mask(op.target)
        case ReadOnly():
            _make_read_only(op.target)


def _enter() -> None:
    """Swap roots and let go of the old one, by the descriptor: the same place holds both (pivot_root(2), NOTES)."""
    os.chdir(f"{_SPACE}/root")
    syscalls.pivot_root(".", ".")
    syscalls.umount(".", syscalls.MNT_DETACH)
    os.chdir("/")


def _mount_overlay(op: Overlay) -> None:
    lowers = [_lower(lower) for lower in op.lowers]
    target = _directory(op.target)
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
        syscalls.fsconfig(filesystem, syscalls.FSCONFIG_SET_FLAG, "userxattr", None)
        _attach(_created(filesystem, _OVERLAY), target)
    finally:
        os.close(target)


def _mount_overlay_at_once(op: Overlay, lowers: list[str], target: int) -> None:
    options = f"lowerdir={':'.join(reversed(lowers))},upperdir={op.upper},workdir={op.work},userxattr"
    syscalls.mount("overlay", f"/proc/self/fd/{target}", "overlay", 0, options)
    mounted = _directory(op.target)
    syscalls.mount_setattr(mounted, "", syscalls.AT_EMPTY_PATH, _OVERLAY)
    os.close(mounted)


def _lower(lower: str) -> str:
    return f"{_SPACE}/copies/{lower.removeprefix(_COPY)}" if lower.startswith(_COPY) else lower


def _mount_filesystem(op: Filesystem) -> None:
    target = _directory(op.target)
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


def _bind(op: Bind) -> None:
    flags = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC | (syscalls.AT_RECURSIVE if op.recursive else 0)
    tree = syscalls.open_tree(syscalls.AT_FDCWD, op.source, flags)
    target = _directory(op.target) if stat.S_ISDIR(os.fstat(tree).st_mode) else _file(op.target)
    try:
        _set_attributes(tree, op.attributes, recursive=op.recursive)
        _attach(tree, target)
    finally:
        os.close(target)


def _provide(op: Text) -> None:
    source = f"{_SPACE}/files/{op.target.replace('/', '_')}"
    with open(source, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(op.content)
        os.fchmod(file.fileno(), 0o644)
    target = _file(op.target)
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


def _have_directory(op: Directory) -> None:
    found = _find(op.target)
    if found is None:
        os.close(_directory(op.target))
        parent, name = _parent(op.target)
        os.chmod(name, op.mode, dir_fd=parent)
        os.close(parent)
    else:
        os.close(found)


def _have_symlink(op: Symlink) -> None:
    parent, name = _parent(op.target)
    try:
        os.symlink(op.to, name, dir_fd=parent)
    except FileExistsError:
        pass
    finally:
        os.close(parent)


def _mask(target: str) -> None:
    found = _find(target)
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


def _make_read_only(target: str) -> None:
    found = _find(target)
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


def _open(path: str, flags: int) -> int:
    """Open a path of the new root; links are followed inside it."""
    root = os.open(f"{_SPACE}/root", _FIND | os.O_DIRECTORY)
    try:
        return syscalls.openat2(root, path.lstrip("/") or ".", flags | os.O_CLOEXEC, 0, _RESOLVE)
    finally:
        os.close(root)


def _find(path: str) -> int | None:
    try:
        return _open(path, _FIND)
    except FileNotFoundError:
        return None


def _parent(path: str) -> tuple[int, str]:
    """Return the directory that holds `path`, made where there is none, open and not by way of a last link."""
    head, _, name = path.rstrip("/").rpartition("/")
    return _directory(head or "/"), name


def _directory(path: str) -> int:
    """Return the directory at `path`; made, with those above it, where there is nothing."""
    found = _find(path)
    if found is None:
        parent, name = _parent(path)
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        finally:
            os.close(parent)
        found = _open(path, _FIND)
    if not stat.S_ISDIR(os.fstat(found).st_mode):
        os.close(found)
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    return found


def _file(path: str, links: int = _LINKS) -> int:
    """Return the file at `path`; an empty one, made where there is nothing or a link to nothing."""
    found = _find(path)
    if found is not None:
        return found
    if not links:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    parent, name = _parent(path)
    try:
        os.close(
            os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=parent)
        )
    except FileExistsError:  # a link
        to = os.readlink(name, dir_fd=parent)
        head = path.rpartition("/")[0]
        return _file(to if to.startswith("/") else f"{head}/{to}", links - 1)
    finally:
        os.close(parent)
    return _open(path, _FIND)

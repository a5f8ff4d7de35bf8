"""The system calls that Python lacks: namespaces, the mount API, capabilities, seccomp. ctypes' only door.

Each raises OSError with the call's errno and name. Owns numbers and struct layouts; decides nothing. Standard library
only, since it is inside every sandbox before `execve`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR_IDMAP = 0x00100000

MS_NOSUID = 2
MS_NODEV = 4
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MNT_DETACH = 2

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_IN_ROOT = 0x10

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_NAME = 15
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4
_CAPABILITY_VERSION_3 = 0x20080522
_KEYCTL_JOIN_SESSION_KEYRING = 1

# The same on every architecture from 424 on (kernel: include/uapi/asm-generic/unistd.h and syscall_64.tbl).
_OPEN_TREE = 428
_MOVE_MOUNT = 429
_FSOPEN = 430
_FSCONFIG = 431
_FSMOUNT = 432
_OPENAT2 = 437
_MOUNT_SETATTR = 442
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_KEYCTL = {"x86_64": 250, "aarch64": 219}
_SECCOMP = {"x86_64": 317, "aarch64": 277}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _Program(ctypes.Structure):
    """`struct sock_fprog` (linux/filter.h)."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    _check(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: str, kind: str | None, flags: int = 0, options: str = "") -> None:
    """Mount the old way, mount(2); `options` are a page at most."""
    encoded = (_text(source), _text(target), None if kind is None else _text(kind))
    _check(_libc.mount(*encoded, ctypes.c_ulong(flags), _text(options)), f"mount {target}")


def umount(target: str, flags: int) -> None:
    _check(_libc.umount2(_text(target), flags), f"umount2 {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    _call("pivot_root", _PIVOT_ROOT[os.uname().machine], _text(new_root), _text(put_old))


def open_tree(directory: int, path: str, flags: int) -> int:
    """Return a descriptor of the mount at `path`; with OPEN_TREE_CLONE of a new, detached one like it."""
    return _call(f"open_tree {path}", _OPEN_TREE, directory, _text(path), flags)


def fsopen(kind: str) -> int:
    return _call(f"fsopen {kind}", _FSOPEN, _text(kind), 1)


def fsconfig(filesystem: int, command: int, name: str | None, value: str | None) -> None:
    what = f"fsconfig {name or ''}"
    key, text = (None if item is None else _text(item) for item in (name, value))
    _call(what.strip(), _FSCONFIG, filesystem, command, key, text, 0)


def fsmount(filesystem: int, attributes: int = 0) -> int:
    """Return a descriptor of a new, detached mount."""
    return _call("fsmount", _FSMOUNT, filesystem, 1, attributes)


def move_mount(from_directory: int, from_path: str, to_directory: int, to_path: str, flags: int) -> None:
    what = f"move_mount {to_path}"
    _call(what.strip(), _MOVE_MOUNT, from_directory, _text(from_path), to_directory, _text(to_path), flags)


def mount_setattr(
    directory: int, path: str, flags: int, attributes: int, cleared: int = 0, propagation: int = 0, namespace: int = 0
) -> None:
    """Change attributes of a mount; with MOUNT_ATTR_IDMAP its ids, to those of the user namespace `namespace`."""
    attr = struct.pack("=QQQQ", attributes, cleared, propagation, namespace)
    _call("mount_setattr", _MOUNT_SETATTR, directory, _text(path), flags, attr, len(attr))


def openat2(directory: int, path: str, flags: int, mode: int, resolve: int) -> int:
    how = struct.pack("=QQQ", flags, mode, resolve)
    return _call(f"openat2 {path}", _OPENAT2, directory, _text(path), how, len(how))


def set_parent_death_signal(number: int) -> None:
    """Have the kernel send `number` when the parent thread ends; a change of ids or capabilities clears it."""
    _prctl("PR_SET_PDEATHSIG", _PR_SET_PDEATHSIG, number)


def set_dumpable(*, dumpable: bool) -> None:
    _prctl("PR_SET_DUMPABLE", _PR_SET_DUMPABLE, int(dumpable))


def set_name(name: bytes) -> None:
    """Have ps(1) show `name`, of 15 bytes at most, in place of the program's."""
    _check(_libc.prctl(_PR_SET_NAME, ctypes.c_char_p(name), 0, 0, 0), "prctl PR_SET_NAME")


def set_command_line(text: bytes) -> None:
    """Have ps(1) show `text`, as much as there is room for, in place of this process's arguments.

    They lie on its stack, where the kernel reads them for anybody who asks: proc_pid_cmdline(5). Ours have been copied.
    """
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end, proc_pid_stat(5) counts them as 48 and 49
    if 0 < start < end:
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, text, min(len(text), end - start - 1))


def set_no_new_privs() -> None:
    _prctl("PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)


def drop_bounding_capability(number: int) -> None:
    _prctl("PR_CAPBSET_DROP", _PR_CAPBSET_DROP, number)


def clear_ambient_capabilities() -> None:
    _prctl("PR_CAP_AMBIENT_CLEAR_ALL", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)


def set_capabilities(numbers: Sequence[int]) -> None:
    """Make `numbers` the effective and permitted set, and empty the inheritable one (capset(2))."""
    mask = sum(1 << number for number in numbers)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, struct.pack("=6I", low, low, 0, high, high, 0)), "capset")


def load_seccomp(program: bytes) -> None:
    """Load a filter, an array of `struct sock_filter`; needs no_new_privs.

    Linux before 5.16 would slow down whoever has a filter against Spectre, unless told not to: seccomp(2).
    """
    number = _SECCOMP.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), "seccomp")
    filter_ = _Program(len(program) // 8, program)
    flags = _SECCOMP_FILTER_FLAG_SPEC_ALLOW
    _call("seccomp", number, _SECCOMP_SET_MODE_FILTER, flags, ctypes.addressof(filter_))


def join_new_session_keyring() -> None:
    _call("keyctl", _KEYCTL[os.uname().machine], _KEYCTL_JOIN_SESSION_KEYRING, None)


def _prctl(what: str, option: int, *arguments: int) -> None:
    padded = [*arguments, 0, 0, 0, 0][:4]
    _check(_libc.prctl(option, *map(ctypes.c_ulong, padded)), f"prctl {what}")


def _call(what: str, number: int, *arguments: int | bytes | None) -> int:
    converted = [ctypes.c_long(item) if isinstance(item, int) else ctypes.c_char_p(item) for item in arguments]
    return _check(_libc.syscall(ctypes.c_long(number), *converted), what)


def _check(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), what)
    return result


def _text(text: str) -> bytes:
    return os.fsencode(text)

"""What a step may do: capabilities, limits, no_new_privs, seccomp. Runs inside, in the process that becomes the step.

The order is runc's (`standard_init_linux.go`): bounding set while CAP_SETPCAP is there, ids, capabilities, filter last.
Standard library only.
"""

from __future__ import annotations

import errno
import os
import resource
from typing import NamedTuple

from ci_env_runners import syscalls
from ci_env_runners.identity import Identity

KEPT = {
    "chown": 0,
    "dac_override": 1,
    "fowner": 3,
    "fsetid": 4,
    "kill": 5,
    "setgid": 6,
    "setuid": 7,
    "net_bind_service": 10,
    "sys_chroot": 18,
    "setfcap": 31,
}
"""what root keeps, as in rootless podman but for setpcap; over its own user namespace only"""
_LAST = 63
_NO_KEYRING = {errno.ENOSYS, errno.EPERM, errno.EDQUOT, errno.EACCES}
"""a kernel without keyrings, a filter around us, a full quota: the step then shares a keyring that is its user's own"""
_OPEN_FILES = (1024, 524288)
_NO_CORE = 1
"""byte: below any size, so there is no file; and with 1 the kernel starts no program of the host's core_pattern either,
which with 0 it does (fs/coredump.c). A step may lower it to 0."""
_NO_PRIORITY = (resource.RLIMIT_NICE, resource.RLIMIT_RTPRIO)
"""what a caller with a right to real time (audio, a container of its own) would hand on"""
_STACK = 8 << 20
_NOT_THE_CALLERS = (
    resource.RLIMIT_AS,
    resource.RLIMIT_CPU,
    resource.RLIMIT_DATA,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_RSS,
)
"""soft limits of the caller's shell that would end a step; hard ones cannot be lifted"""


class Limits(NamedTuple):
    """What a process may have, where a control group does not see to it; 0: nothing is said."""

    open_files: int
    processes: int
    data_bytes: int


def give_up(identity: Identity, limits: Limits, *, has_many_ids: bool, seccomp: bytes) -> None:
    """Become `identity` with no more than it needs. Nothing can be taken back afterwards."""
    _limit(limits)
    _leave_keyring()
    kept = tuple(KEPT.values()) if identity.uid == 0 else ()
    for number in range(_LAST + 1):
        if number not in kept and not _drop(number):
            break
    syscalls.clear_ambient_capabilities()
    if has_many_ids:
        os.setgroups(identity.groups)
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
        syscalls.set_dumpable(dumpable=False)  # what a change of ids may have undone (prctl(2)); execve(2) undoes it
    syscalls.set_capabilities(kept)
    syscalls.set_no_new_privs()
    syscalls.load_seccomp(seccomp)


def _drop(number: int) -> bool:
    """Drop a capability from the bounding set; False: this kernel has no more of them."""
    try:
        syscalls.drop_bounding_capability(number)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    return True


def _limit(limits: Limits) -> None:
    soft, most = (limits.open_files, limits.open_files) if limits.open_files else _OPEN_FILES
    most = _allowed(resource.RLIMIT_NOFILE, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, most), most))
    no_core = _allowed(resource.RLIMIT_CORE, _NO_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (no_core, no_core))
    for limit in _NO_PRIORITY:
        resource.setrlimit(limit, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (_STACK if hard == resource.RLIM_INFINITY else min(_STACK, hard), hard))
    for limit in _NOT_THE_CALLERS:
        _, hard = resource.getrlimit(limit)
        resource.setrlimit(limit, (hard, hard))
    for limit, wanted in ((resource.RLIMIT_NPROC, limits.processes), (resource.RLIMIT_DATA, limits.data_bytes)):
        if wanted:
            most = _allowed(limit, wanted)
            resource.setrlimit(limit, (most, most))


def _allowed(limit: int, wanted: int) -> int:
    """Return what of it the caller has: a hard limit cannot be lifted."""
    _, hard = resource.getrlimit(limit)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def _leave_keyring() -> None:
    try:
        syscalls.join_new_session_keyring()
    except OSError as error:
        if error.errno not in _NO_KEYRING:
            raise

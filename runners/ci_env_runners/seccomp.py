"""Seccomp filters, as programs for the kernel. Owns which system calls they answer; loading them is syscalls.py's.

Root emulation is for a sandbox with one mapped id. Every file there belongs to that id and every process is uid 0, so
a call that would give something to another id fails with EINVAL or EPERM, and with it dpkg, tar and apt-get. The
filter answers these calls with success and does nothing, as Charliecloud's does (its ch-image(1), "root emulation").
Not a security boundary: what it answers, the kernel would have refused.

Left to the kernel, unlike there: `capset`, because giving up capabilities works with one id too, and a program that
drops them must lose them. Beyond a filter: a program that looks whether its ids have changed. apt-get does, so it needs
`APT::Sandbox::User "root";` in its configuration as well.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Mapping
from dataclasses import dataclass

from ci_env.errors import HostError
from ci_env_runners.bpf import ALLOW, ARCHITECTURE, KILL_PROCESS, NUMBER, Branch, Filter, answer, argument, assemble

_DONE = answer(0)
_X32_BIT = 0x40000000
_KIND_BITS = 0o170000  # S_IFMT
_MODE_ARGUMENT = {"mknod": 1, "mknodat": 2}


@dataclass(frozen=True, slots=True)
class _Architecture:
    audit: int
    """AUDIT_ARCH_*, linux/audit.h"""
    numbers: Mapping[str, int]
    """of the calls to answer, where the architecture has them"""


_ARCHITECTURES = {
    "x86_64": _Architecture(  # arch/x86/entry/syscalls/syscall_64.tbl
        0xC000003E,
        {
            "chown": 92,
            "fchown": 93,
            "lchown": 94,
            "setuid": 105,
            "setgid": 106,
            "setreuid": 113,
            "setregid": 114,
            "setgroups": 116,
            "setresuid": 117,
            "setresgid": 119,
            "setfsuid": 122,
            "setfsgid": 123,
            "mknod": 133,
            "mknodat": 259,
            "fchownat": 260,
        },
    ),
    "aarch64": _Architecture(  # include/uapi/asm-generic/unistd.h
        0xC00000B7,
        {
            "mknodat": 33,
            "fchownat": 54,
            "fchown": 55,
            "setregid": 143,
            "setgid": 144,
            "setreuid": 145,
            "setuid": 146,
            "setresuid": 147,
            "setresgid": 149,
            "setfsuid": 151,
            "setfsgid": 152,
            "setgroups": 159,
        },
    ),
}


def root_emulation(architecture: str) -> bytes:
    """Return the filter, an array of `struct sock_filter`, for a machine as `uname -m` names it.

    Kills a process that makes a call of another architecture, whose numbers mean other calls; x86_64's x32 calls do
    not exist. HostError where we have no numbers for `architecture`.
    """
    machine = _ARCHITECTURES.get(architecture)
    if machine is None:
        known = " and ".join(_ARCHITECTURES)
        message = f"root cannot be emulated on {architecture}: its system call numbers are known for {known} only"
        raise HostError(message, hint="use subordinate ids, which need no emulation (`ci-env doctor`)")
    tree: Filter = ALLOW
    for name, number in machine.numbers.items():
        tree = Branch(NUMBER, "equal", number, _reply(name), tree)
    if architecture == "x86_64":
        tree = Branch(NUMBER, "at_least", _X32_BIT, answer(errno.ENOSYS), tree)
    return assemble(Branch(ARCHITECTURE, "equal", machine.audit, tree, KILL_PROCESS))


def _reply(name: str) -> Filter:
    """Return what to do with a call; one that makes a node is answered for devices only, which one id cannot make."""
    if name not in _MODE_ARGUMENT:
        return _DONE
    kind = argument(_MODE_ARGUMENT[name], mask=_KIND_BITS)  # the kernel reads 16 bits, umode_t
    return Branch(kind, "equal", stat.S_IFCHR, _DONE, Branch(kind, "equal", stat.S_IFBLK, _DONE, ALLOW))

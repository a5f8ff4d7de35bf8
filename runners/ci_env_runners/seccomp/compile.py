"""Compiles the filters: scripts/seccomp. Owns what a step gets for a system call that depends on its arguments.

An allow-list (calls.txt), after the one that docker and containerd use: a call that no build needs is a way to attack
the kernel, which all jobs share. A call that Linux got after the list was written does not exist, so that programs fall
back to an older one.

Root emulation is for a sandbox with one mapped id. Every file there belongs to that id and every process is uid 0, so
a call that would give something to another id fails with EINVAL or EPERM, and with it dpkg, tar and apt-get. The
filter answers these calls with success and does nothing, as Charliecloud's does (its ch-image(1), "root emulation").
Left to the kernel, unlike there: `capset`, because giving up capabilities works with one id too, and a program that
drops them must lose them. Beyond a filter: a program that looks whether its ids have changed. apt-get does, so it needs
`APT::Sandbox::User "root";` in its configuration as well.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci_env_runners.bpf import (
    ALLOW,
    ARCHITECTURE,
    KILL_PROCESS,
    NUMBER,
    Branch,
    Filter,
    Word,
    answer,
    argument,
    assemble,
)
from ci_env_runners.seccomp import MACHINES, file_of

TABLE = Path(__file__).with_name("calls.txt")
DENIED = answer(errno.EPERM)
ABSENT = answer(errno.ENOSYS)
_DONE = answer(0)
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*, linux/audit.h

_NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET, linux/sched.h
_PERSONALITIES = (0, 8, 0x20000, 0x20008, 0x40000, 0x40008, 0xFFFFFFFF)  # linux/personality.h; the last one only asks
"""PER_LINUX and PER_LINUX32, with UNAME26 or ADDR_NO_RANDOMIZE"""
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI and TIOCLINUX: type for whoever reads the terminal next
_UNIX = 1
_INTERNET = (2, 10)  # AF_INET, AF_INET6
_INTERNET_PROTOCOLS = (0, 1, 6, 17, 58, 262)  # the type's own, ICMP, TCP, UDP, ICMPv6, MPTCP: netinet/in.h
_PACKET, _TYPE_BITS = 10, 0xF  # SOCK_PACKET is AF_PACKET by an old name, whatever the family: packet(7)
_NETLINK = 16
_NETLINK_PROTOCOLS = (0, 2, 4, 15, 16)  # ROUTE, USERSOCK, SOCK_DIAG, KOBJECT_UEVENT, GENERIC: linux/netlink.h

_ANSWERED = (
    *("chown", "fchown", "lchown", "fchownat"),
    *("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups"),
)
_MODE_ARGUMENT = {"mknod": 1, "mknodat": 2}
_KIND_BITS = 0o170000  # S_IFMT


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    numbers: Mapping[str, int]
    """by machine; absent where it does not have the call"""
    verdict: str
    """`allow`, `deny` or `rule`"""


def table() -> tuple[Call, ...]:
    """Return what calls.txt says."""
    rows = [line.split() for line in TABLE.read_text().splitlines() if not line.startswith("#")]
    return tuple(
        Call(name, {machine: int(n) for machine, n in zip(MACHINES, numbers, strict=True) if n != "-"}, verdict)
        for name, *numbers, verdict in rows
    )


def compiled(machine: str, *, emulates_root: bool) -> bytes:
    """Return the filter for `machine`. A process that makes a call of another architecture is killed: there, numbers
    mean other calls, and i386's socketcall(2) hides arguments. x86_64's x32 calls do not exist.
    """
    calls = {call.numbers[machine]: call for call in table() if machine in call.numbers}
    segments: list[tuple[int, Filter]] = []
    for number in range(max(calls) + 1):
        decision = _decide(calls[number], emulates_root=emulates_root) if number in calls else ABSENT
        if not segments or segments[-1][1] != decision:
            segments.append((number, decision))
    tree = _search([*segments, (max(calls) + 1, ABSENT)])
    return assemble(Branch(ARCHITECTURE, "equal", _AUDIT[machine], tree, KILL_PROCESS))


def main() -> None:
    """Write all filters."""
    for machine in MACHINES:
        for emulates_root in (False, True):
            file_of(machine, emulates_root=emulates_root).write_bytes(compiled(machine, emulates_root=emulates_root))


def _search(segments: Sequence[tuple[int, Filter]]) -> Filter:
    """Return the decisions, each from its number to the next one's, as a search by halves."""
    if len(segments) == 1:
        return segments[0][1]
    half = len(segments) // 2
    return Branch(NUMBER, "at_least", segments[half][0], _search(segments[half:]), _search(segments[:half]))


def _decide(call: Call, *, emulates_root: bool) -> Filter:
    if emulates_root and call.name in _ANSWERED:
        return _DONE
    if emulates_root and call.name in _MODE_ARGUMENT:  # devices only: one id can make all other nodes
        kind = argument(_MODE_ARGUMENT[call.name], mask=_KIND_BITS)  # the kernel reads 16 bits, umode_t
        return _one_of(kind, (stat.S_IFCHR, stat.S_IFBLK), _DONE, ALLOW)
    if call.verdict == "rule":
        return _RULES[call.name]
    return {"allow": ALLOW, "deny": DENIED}[call.verdict]


def _one_of(word: Word, values: Sequence[int], then: Filter, otherwise: Filter) -> Filter:
    for value in reversed(values):
        otherwise = Branch(word, "equal", value, then, otherwise)
    return otherwise


# All arguments here are 32 bits to the kernel, or have nothing to decide on in their high half.
_NO_FAMILY, _NO_PROTOCOL = answer(errno.EAFNOSUPPORT), answer(errno.EPROTONOSUPPORT)
_NETLINK_SOCKET = _one_of(argument(2), _NETLINK_PROTOCOLS, ALLOW, _NO_PROTOCOL)
_INTERNET_SOCKET = Branch(
    argument(1, mask=_TYPE_BITS),
    "equal",
    _PACKET,
    _NO_FAMILY,
    _one_of(argument(2), _INTERNET_PROTOCOLS, ALLOW, _NO_PROTOCOL),
)
_NOT_UNIX = _one_of(
    argument(0), _INTERNET, _INTERNET_SOCKET, Branch(argument(0), "equal", _NETLINK, _NETLINK_SOCKET, _NO_FAMILY)
)
_SOCKET = Branch(argument(0), "equal", _UNIX, ALLOW, _NOT_UNIX)
_RULES: Mapping[str, Filter] = {
    "clone": Branch(argument(0, mask=_NEW_NAMESPACES), "equal", 0, ALLOW, DENIED),
    "clone3": ABSENT,  # its flags are in memory; the C library falls back to clone
    "ioctl": _one_of(argument(1), _TERMINAL_INPUT, DENIED, ALLOW),
    "personality": _one_of(argument(0), _PERSONALITIES, ALLOW, DENIED),
    "socket": _SOCKET,
    "socketpair": _SOCKET,
}
"""`socket` fails as on a kernel without that family: no AF_ALG, AF_VSOCK, AF_KEY, AF_RXRPC, AF_PACKET, nor XFRM"""

if __name__ == "__main__":
    main()

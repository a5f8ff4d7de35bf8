"""The filters of system calls: what each answers, call by call, and as libseccomp's compiler would have it."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator

import pytest

from ci_env.errors import HostError
from ci_env_runners.seccomp import compile as filters
from ci_env_runners.seccomp import file_of, step_filter
from tests.bpf_interpreter import AARCH64, X86_64, call, run
from tests.libseccomp import Rule, compiled, number

ALLOW, DONE, KILL = 0x7FFF0000, 0x00050000, 0x80000000
DENIED, ABSENT = DONE | errno.EPERM, DONE | errno.ENOSYS
NO_FAMILY, NO_PROTOCOL = DONE | errno.EAFNOSUPPORT, DONE | errno.EPROTONOSUPPORT
I386, ARM, RISCV64 = 0x40000003, 0x40000028, 0xC00000F3
AUDIT = {"x86_64": X86_64, "aarch64": AARCH64}
HIGH = 0xDEADBEEF_00000000
"""bits that the kernel does not look at in an argument of 32 bits"""

CHOWN = ("chown", "fchown", "lchown", "fchownat")
SET_IDS = ("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups")
ANSWERED = (*CHOWN, *SET_IDS)
MAKES_NODES = {"mknod": 1, "mknodat": 2}
"""index of the mode argument"""
KINDS = (stat.S_IFREG, 0, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFDIR, stat.S_IFLNK)
DEVICES = {stat.S_IFCHR, stat.S_IFBLK}
BEYOND = (0, 1 << 16, 0xFFFF0000, 1 << 32, 0xFFFFFFFF_00000000)
MODES = tuple(kind | bits | more for kind in KINDS for bits in (0, 0o666, 0o7777) for more in BEYOND)
SAMPLES = (
    *((value,) * 6 for value in (0, 1, 8, 16, 0x5412, 0x541C, 0x40000, 0xFFFFFFFF, 2**64 - 1)),
    *((flag, *(0,) * 5) for flag in (0x1200011, 0x10000000, 0x20000, 0x7E020000, 0x3D0F00, HIGH | 0x11)),
    *((HIGH | value,) * 6 for value in (1, 16, 0x5412, 0x40000)),
    *((mode,) * 6 for mode in (stat.S_IFCHR, stat.S_IFIFO)),
)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("read", (), ALLOW),
        ("execve", (), ALLOW),
        *((name, (), ALLOW) for name in ("process_vm_readv", "kcmp", "pidfd_getfd")),  # where ptrace is allowed
        ("ptrace", (), ALLOW),  # of processes in the same namespace: debuggers, sanitizers
        ("chroot", (), ALLOW),
        *(
            (name, (), DENIED)
            for name in ("mount", "umount2", "unshare", "setns", "pivot_root", "move_mount", "fsopen")
        ),
        *((name, (), DENIED) for name in ("bpf", "io_uring_setup", "userfaultfd", "perf_event_open", "keyctl")),
        *((name, (), DENIED) for name in ("add_key", "request_key", "open_by_handle_at", "init_module", "reboot")),
        *((name, (), DENIED) for name in ("quotactl", "kexec_load", "swapon", "settimeofday", "syslog")),
        ("clone", (0x01200011,), ALLOW),  # fork
        ("clone", (0x003D0F00,), ALLOW),  # pthread_create
        *(
            ("clone", (flag | 0x11,), DENIED)
            for flag in (1 << 17, 1 << 25, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30)
        ),
        ("clone3", (), ABSENT),
        ("ioctl", (0, 0x5401), ALLOW),
        *(("ioctl", (0, high | command), DENIED) for command in (0x5412, 0x541C) for high in (0, HIGH)),
        *(("personality", (value,), ALLOW) for value in (0, 8, 0x20000, 0x40000, 0xFFFFFFFF)),
        ("personality", (0x0400000,), DENIED),  # READ_IMPLIES_EXEC
        *(
            (name, (high | family, 1, 0), ALLOW)
            for name in ("socket", "socketpair")
            for family in (1, 2, 10)
            for high in (0, HIGH)
        ),
        *(
            ("socket", (high | family, 5, 0), NO_FAMILY)
            for family in (0, 15, 17, 29, 33, 38, 40, 44)
            for high in (0, HIGH)
        ),
        *(("socket", (family, 1, protocol), ALLOW) for family in (2, 10) for protocol in (6, 17, 58, 262)),
        *(("socket", (2, high | 1, 132), NO_PROTOCOL) for high in (0, HIGH)),  # SCTP
        *(("socket", (family, high | 0x80000 | 10, 0), NO_FAMILY) for family in (2, 10) for high in (0, HIGH)),
        ("socket", (1, 1, 99), ALLOW),
        *(("socket", (16, 3, protocol), ALLOW) for protocol in (0, 4, 15, 16)),
        *(("socket", (16, 3, high | protocol), NO_PROTOCOL) for protocol in (6, 9, 12, 21) for high in (0, HIGH)),
    ],
)
@pytest.mark.parametrize("machine", AUDIT)
@pytest.mark.parametrize("emulates_root", [False, True])
def test_what_a_step_gets(
    machine: str, emulates_root: bool, name: str, arguments: tuple[int, ...], expected: int
) -> None:
    nr = numbers(machine)[name]
    assert run(step_filter(machine, emulates_root=emulates_root), call(nr, arguments, AUDIT[machine])) == expected


@pytest.mark.parametrize("machine", AUDIT)
def test_emulated_root_gets_more_answers_and_nothing_else(machine: str) -> None:
    plain, emulating = step_filter(machine, emulates_root=False), step_filter(machine, emulates_root=True)
    answered = {numbers(machine)[name] for name in ANSWERED if name in numbers(machine)}
    nodes = {numbers(machine)[name]: index for name, index in MAKES_NODES.items() if name in numbers(machine)}
    for nr in range(601):
        for arguments in (*SAMPLES, *((mode,) * 6 for mode in MODES)):
            data = call(nr, arguments, AUDIT[machine])
            is_device = nr in nodes and stat.S_IFMT(arguments[nodes[nr]] & 0xFFFF) in DEVICES
            assert run(emulating, data) == (DONE if nr in answered or is_device else run(plain, data)), (nr, arguments)


@pytest.mark.parametrize("machine", AUDIT)
@pytest.mark.parametrize("emulates_root", [False, True])
def test_calls_that_nobody_knows_yet_do_not_exist(machine: str, emulates_root: bool) -> None:
    program = step_filter(machine, emulates_root=emulates_root)
    newest = max(numbers(machine).values())
    unknown = {*range(601), 0x3FFFFFFF, 0xFFFFFFFF} - {*numbers(machine).values()}
    assert newest > 450
    assert {run(program, call(nr, architecture=AUDIT[machine])) for nr in unknown} == {ABSENT}


@pytest.mark.parametrize("machine", AUDIT)
@pytest.mark.parametrize("emulates_root", [False, True])
@pytest.mark.parametrize("foreign", [I386, ARM, RISCV64, X86_64, AARCH64, 0])
def test_call_of_another_architecture_kills(machine: str, emulates_root: bool, foreign: int) -> None:
    if foreign == AUDIT[machine]:
        foreign ^= 0x80000000  # its 32-bit twin
    program = step_filter(machine, emulates_root=emulates_root)
    assert {run(program, call(nr, architecture=foreign)) for nr in range(601)} == {KILL}


@pytest.mark.parametrize("nr", [0x40000000, 0x40000000 | 92, 0x40000000 | 520, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_x32_calls_do_not_exist(nr: int) -> None:
    assert run(step_filter("x86_64", emulates_root=False), call(nr)) == ABSENT


@pytest.mark.parametrize("machine", AUDIT)
@pytest.mark.parametrize("emulates_root", [False, True])
def test_what_is_shipped_is_what_the_table_says(machine: str, emulates_root: bool) -> None:
    """Else: scripts/seccomp."""
    shipped = file_of(machine, emulates_root=emulates_root).read_bytes()
    assert shipped == filters.compiled(machine, emulates_root=emulates_root)


@pytest.mark.parametrize("machine", AUDIT)
def test_the_tables_numbers_are_right(machine: str) -> None:
    found = {name: number(name, AUDIT[machine]) for name in (one.name for one in filters.table())}
    known = {name: nr for name, nr in found.items() if nr is not None}
    assert len(known) > 250
    assert {name: numbers(machine).get(name) for name in known} == known


@pytest.mark.parametrize("machine", AUDIT)
@pytest.mark.parametrize("emulates_root", [False, True])
def test_is_what_libseccomp_compiles(machine: str, emulates_root: bool) -> None:
    """But for `socket`, which it has no single comparison for, and calls that it does not know."""
    audit, ours = AUDIT[machine], step_filter(machine, emulates_root=emulates_root)
    allowing = compiled(audit, DENIED, KILL, allowed(machine, emulates_root=emulates_root))
    denying = compiled(audit, ALLOW, KILL, answered(machine, emulates_root=emulates_root))
    for one in filters.table():
        if machine not in one.numbers or one.name in ("socket", "socketpair") or number(one.name, audit) is None:
            continue
        is_answered = one.name in ("ioctl", "clone3") or (emulates_root and one.name in (*ANSWERED, *MAKES_NODES))
        theirs = denying if is_answered else allowing
        for arguments in SAMPLES:
            data = call(one.numbers[machine], arguments, audit)
            assert run(ours, data) == run(theirs, data), (one.name, arguments)


def allowed(machine: str, *, emulates_root: bool) -> Iterator[Rule]:
    for one in filters.table():
        is_known = machine in one.numbers and number(one.name, AUDIT[machine]) is not None
        if is_known and one.verdict == "allow" and not (emulates_root and one.name in (*ANSWERED, *MAKES_NODES)):
            yield Rule(one.name, ALLOW)
    yield Rule("clone", ALLOW, 0, 0x7E020000, 0)
    for value in (0, 8, 0x20000, 0x20008, 0x40000, 0x40008, 0xFFFFFFFF):
        yield Rule("personality", ALLOW, 0, 0xFFFFFFFF, value)


def answered(machine: str, *, emulates_root: bool) -> Iterator[Rule]:
    yield Rule("clone3", ABSENT)
    for command in (0x5412, 0x541C):
        yield Rule("ioctl", DENIED, 1, 0xFFFFFFFF, command)
    if emulates_root:
        for name in ANSWERED:
            yield Rule(name, DONE)
        for name, index in MAKES_NODES.items():
            for kind in DEVICES:
                yield Rule(name, DONE, index, 0o170000, kind)


def numbers(machine: str) -> dict[str, int]:
    return {one.name: one.numbers[machine] for one in filters.table() if machine in one.numbers}


def test_unknown_architecture_is_refused() -> None:
    with pytest.raises(HostError, match="no filter of system calls for riscv64, only for x86_64 and aarch64"):
        step_filter("riscv64", emulates_root=False)

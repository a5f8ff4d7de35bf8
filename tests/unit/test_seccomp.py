"""Root emulation: what the filter answers, call by call, and as libseccomp's compiler would have it."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator

import pytest

from ci_env.errors import HostError
from ci_env_runners.seccomp import root_emulation
from tests.bpf_interpreter import AARCH64, X86_64, call, run
from tests.libseccomp import Rule, compiled, number

ALLOW, DONE, KILL = 0x7FFF0000, 0x00050000, 0x80000000
I386, ARM, RISCV64 = 0x40000003, 0x40000028, 0xC00000F3
AUDIT = {"x86_64": X86_64, "aarch64": AARCH64}

# From strace's tables (linux/x86_64/syscallent.h, linux/64/syscallent.h)
ALWAYS = {
    "x86_64": {92, 93, 94, 105, 106, 113, 114, 116, 117, 119, 122, 123, 260},
    "aarch64": {54, 55, 143, 144, 145, 146, 147, 149, 151, 152, 159},
}
MAKES_NODES = {"x86_64": {133: 1, 259: 2}, "aarch64": {33: 2}}
"""number of the call: index of its mode argument"""
CHOWN = ("chown", "fchown", "lchown", "fchownat")
SET_IDS = ("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups")
NAMES = (*CHOWN, *SET_IDS)

KINDS = (stat.S_IFREG, 0, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFDIR, stat.S_IFLNK)
DEVICES = {stat.S_IFCHR, stat.S_IFBLK}
BEYOND = (0, 1 << 16, 0xFFFF0000, 1 << 32, 0xFFFFFFFF_00000000)
"""bits of the mode argument that the kernel does not look at"""
MODES = tuple(kind | bits | more for kind in KINDS for bits in (0, 0o666, 0o7777) for more in BEYOND)
SAMPLES = (*((mode,) * 6 for mode in MODES), (0,) * 6, (2**64 - 1,) * 6)


def expected(machine: str, nr: int, arguments: tuple[int, ...]) -> int:
    if nr in ALWAYS[machine]:
        return DONE
    index = MAKES_NODES[machine].get(nr)
    is_device = index is not None and stat.S_IFMT(arguments[index] & 0xFFFF) in DEVICES
    return DONE if is_device else ALLOW


@pytest.mark.parametrize("machine", AUDIT)
def test_every_call_gets_its_answer(machine: str) -> None:
    program = root_emulation(machine)
    for nr in range(601):
        for arguments in SAMPLES:
            assert run(program, call(nr, arguments, AUDIT[machine])) == expected(machine, nr, arguments), (
                nr,
                arguments,
            )


@pytest.mark.parametrize("machine", AUDIT)
@pytest.mark.parametrize("foreign", [I386, ARM, RISCV64, X86_64, AARCH64, 0])
def test_call_of_another_architecture_kills(machine: str, foreign: int) -> None:
    if foreign == AUDIT[machine]:
        foreign ^= 0x80000000  # its 32-bit twin
    answers = {run(root_emulation(machine), call(nr, architecture=foreign)) for nr in range(601)}
    assert answers == {KILL}


@pytest.mark.parametrize("nr", [0x40000000, 0x40000000 | 92, 0x40000000 | 520, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_x32_calls_do_not_exist(nr: int) -> None:
    assert run(root_emulation("x86_64"), call(nr)) == DONE | errno.ENOSYS


@pytest.mark.parametrize("machine", AUDIT)
def test_is_what_libseccomp_compiles(machine: str) -> None:
    ours, theirs = root_emulation(machine), compiled(AUDIT[machine], ALLOW, KILL, rules())
    for nr in range(601):
        for arguments in SAMPLES:
            data = call(nr, arguments, AUDIT[machine])
            assert run(ours, data) == run(theirs, data), (nr, arguments)
    for foreign in (I386, ARM, RISCV64):
        assert run(ours, call(0, architecture=foreign)) == run(theirs, call(0, architecture=foreign))


def rules() -> Iterator[Rule]:
    for name in NAMES:
        yield Rule(name, DONE)
    for name, index in (("mknod", 1), ("mknodat", 2)):
        for kind in DEVICES:
            yield Rule(name, DONE, index, 0o170000, kind)


@pytest.mark.parametrize("machine", AUDIT)
def test_tables_above_are_right(machine: str) -> None:
    numbers = {number(name, AUDIT[machine]) for name in NAMES} - {None}
    assert numbers == ALWAYS[machine]
    assert {number(name, AUDIT[machine]) for name in ("mknod", "mknodat")} - {None} == MAKES_NODES[machine].keys()


def test_unknown_architecture_is_refused() -> None:
    with pytest.raises(HostError, match=r"root cannot be emulated on riscv64: .* x86_64 and aarch64 only"):
        root_emulation("riscv64")

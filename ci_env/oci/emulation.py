"""Whether this machine can run programs of a platform: its own, or by an emulator that is registered with the kernel.

binfmt_misc (Documentation/admin-guide/binfmt-misc.rst) hands programs with a certain beginning to an interpreter. Only
one registered with the flag F serves in a rootfs: the kernel opened it when it was registered, so it need not be there.
"""

from __future__ import annotations

import struct
from pathlib import Path

from ci_env.errors import HostError
from ci_env.oci.platform import Platform, runs_natively

BINFMT_MISC = Path("/proc/sys/fs/binfmt_misc")
# class (1: 32 bits, 2: 64), byte order (1: little endian), machine: elf(5), <elf.h>
_ELF = {
    "386": (1, 1, 3),
    "amd64": (2, 1, 62),
    "arm": (1, 1, 40),
    "arm64": (2, 1, 183),
    "loong64": (2, 1, 258),
    "ppc64le": (2, 1, 21),
    "riscv64": (2, 1, 243),
    "s390x": (2, 2, 22),
}
_FORERUNNERS = {"amd64": "386", "arm64": "arm"}
_EXECUTABLE, _SHARED = 2, 3  # ET_EXEC, ET_DYN: what programs are


def check_can_run(platform: Platform, machine: Platform, *, binfmt_misc: Path = BINFMT_MISC) -> None:
    """Raise HostError unless programs of `platform` run on this `machine`; its hint says how they would."""
    if runs_natively(platform, machine) or _is_emulated(platform, binfmt_misc):
        return
    if platform.os == machine.os and _FORERUNNERS.get(machine.architecture) == platform.architecture:
        message = f"programs of {platform} do not run on {machine}: the filter of system calls kills 32-bit programs"
        raise HostError(message, hint=f"choose --platform {machine}")
    if (platform.os, platform.architecture) == (machine.os, machine.architecture):
        message = f"this machine is {machine}, and may not be able to run programs of {platform}"
        raise HostError(message, hint=f"choose --platform {machine}")
    raise HostError(
        f"this machine is {machine}, and has no emulator for programs of {platform}",
        hint=(
            "install qemu-user and register it in binfmt_misc with the flag F (Debian, Ubuntu: apt-get install "
            "qemu-user-static; elsewhere: docker run --privileged --rm tonistiigi/binfmt --install "
            f"{platform.architecture}), or choose --platform {machine}"
        ),
    )


def _is_emulated(platform: Platform, binfmt_misc: Path) -> bool:
    """Tell whether an enabled entry takes this platform's programs. Names of entries differ between distributions."""
    kind = _ELF.get(platform.architecture)
    try:
        if kind is None or platform.os != "linux" or not (binfmt_misc / "status").read_text().startswith("enabled"):
            return False
        entries = [path.read_text() for path in binfmt_misc.iterdir() if path.name not in ("status", "register")]
    except OSError:  # not mounted, or hidden from us
        return False
    return any(all(_takes(entry, _program(*kind, what)) for what in (_EXECUTABLE, _SHARED)) for entry in entries)


def _program(bits: int, order: int, machine: int, what: int) -> bytes:
    """Return the beginning of a program."""
    identity = b"\x7fELF" + bytes([bits, order, 1]) + bytes(9)
    return identity + struct.pack("<HH" if order == 1 else ">HH", what, machine)


def _takes(entry: str, program: bytes) -> bool:
    """Tell whether an entry, as the kernel shows it, takes `program` in any rootfs."""
    fields = {name: value for name, _, value in (line.partition(" ") for line in entry.splitlines())}
    try:
        magic, offset = bytes.fromhex(fields.get("magic", "")), int(fields.get("offset", "0"))
        mask = bytes.fromhex(fields.get("mask", "")) or b"\xff" * len(magic)
    except ValueError:
        return False
    part = program[offset : offset + len(magic)]
    is_match = len(part) == len(magic) == len(mask) and all(
        (ours ^ theirs) & bits == 0 for ours, theirs, bits in zip(part, magic, mask, strict=True)
    )
    return bool(magic) and is_match and "enabled" in fields and "F" in fields.get("flags:", "")

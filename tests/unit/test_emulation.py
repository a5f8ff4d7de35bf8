"""Which platforms a machine runs, by itself or by an emulator, and what is said of those that it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci_env.errors import HostError
from ci_env.oci.emulation import check_can_run
from ci_env.oci.platform import of_machine, parse, runs_natively

ARM64 = """\
enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: POCF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""  # as Debian 12's qemu-user-static registers it
S390X = """\
enabled
interpreter /usr/bin/qemu-s390x
flags: OCF
offset 0
magic 7f454c4602020100000000000000000000020016
mask ffffffffffffff00fffffffffffffffffffeffff
"""
JAVA = "enabled\ninterpreter /usr/bin/jexec\nflags: F\noffset 0\nmagic 504b0304\n"
PYTHON = "enabled\ninterpreter /usr/bin/python3\nflags: \nextension .pyc\n"


def binfmt(path: Path, *entries: str, status: str = "enabled") -> Path:
    (path / "status").write_text(f"{status}\n")
    (path / "register").write_bytes(b"\xff")
    for number, entry in enumerate(entries):
        (path / f"entry-{number}").write_text(entry)
    return path


@pytest.mark.parametrize(
    ("platform", "machine", "expected"),
    [
        ("linux/amd64", "x86_64", True),
        ("linux/amd64/v1", "x86_64", True),
        ("linux/amd64/v3", "x86_64", False),  # of_machine does not know which one it is
        ("linux/386", "x86_64", False),  # the filter of system calls kills it
        ("linux/arm64", "x86_64", False),
        ("linux/arm64", "aarch64", True),
        ("linux/arm64/v8", "aarch64", True),
        ("linux/arm/v7", "aarch64", False),
        ("linux/arm/v7", "armv6l", False),
        ("linux/arm/v6", "armv7l", True),
        ("linux/amd64", "i686", False),
        ("windows/amd64", "x86_64", False),
        ("linux/sparc64", "sparc64", True),
    ],
)
def test_native(platform: str, machine: str, expected: bool) -> None:
    assert runs_natively(parse(platform), of_machine(machine)) == expected


@pytest.mark.parametrize(
    ("platform", "machine"), [("linux/arm64", "x86_64"), ("linux/s390x", "x86_64"), ("linux/amd64", "x86_64")]
)
def test_can_run(tmp_path: Path, platform: str, machine: str) -> None:
    check_can_run(parse(platform), of_machine(machine), binfmt_misc=binfmt(tmp_path, PYTHON, JAVA, ARM64, S390X))


@pytest.mark.parametrize(
    "entry",
    [
        JAVA,
        PYTHON,
        S390X,
        ARM64.replace("enabled", "disabled"),
        ARM64.replace("POCF", "POC"),
        ARM64.replace("b700", "b7"),
        ARM64.replace("7f45", "zz"),
        ARM64.replace("offset 0", "offset 30"),
        ARM64.replace("fffffffffffffffffeffffff", "ffffffffffffffffffffffff"),  # no position-independent programs
        "",
    ],
)
def test_cannot_run(tmp_path: Path, entry: str) -> None:
    with pytest.raises(HostError) as caught:
        check_can_run(parse("linux/arm64"), of_machine("x86_64"), binfmt_misc=binfmt(tmp_path, entry))
    assert caught.value.message == "this machine is linux/amd64, and has no emulator for programs of linux/arm64"
    for word in ("binfmt_misc", "qemu-user", "--install arm64", "--platform linux/amd64"):
        assert word in (caught.value.hint or "")


def test_binfmt_misc_that_is_off_or_away(tmp_path: Path) -> None:
    for path in (binfmt(tmp_path, ARM64, status="disabled"), tmp_path / "absent"):
        with pytest.raises(HostError):
            check_can_run(parse("linux/arm64"), of_machine("x86_64"), binfmt_misc=path)


@pytest.mark.parametrize("platform", ["windows/amd64", "linux/sparc64"])
def test_platforms_without_an_emulator(tmp_path: Path, platform: str) -> None:
    with pytest.raises(HostError, match=f"no emulator for programs of {platform}"):
        check_can_run(parse(platform), of_machine("x86_64"), binfmt_misc=binfmt(tmp_path, ARM64))

"""Root emulation in the kernel: calls succeed and nothing has happened; other architectures' calls kill."""

from __future__ import annotations

import json
import os
import platform
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ci_env_runners.seccomp import step_filter

needs_x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the other calls are x86's")

# Loads the filter in argv[1], if any; then runs the code in argv[2] with what `os` and `libc` offer.
LOAD = """
import ctypes, json, os, stat, sys
libc = ctypes.CDLL(None, use_errno=True)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]
code = bytes.fromhex(sys.argv[1])
if code:
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, 2, ctypes.byref(Program(len(code) // 8, code))) == 0  # PR_SET_SECCOMP
def outcome(call, *arguments, **options):
    try:
        return call(*arguments, **options)
    except OSError as error:
        return error.strerror
exec(sys.argv[2])
"""

IDS = """
def ids():
    status = open("/proc/self/status").read().splitlines()
    return os.getgroups(), [line for line in status if line.startswith(("Uid:", "Gid:"))]
"""

INT_0X80 = """
import mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000" "cd80" "c3"))  # mov eax, 20 (getpid); int 0x80; ret
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))() == os.getpid())
"""


def execute(code: str, cwd: Path, *, emulate: bool = True) -> subprocess.CompletedProcess[str]:
    program = step_filter(platform.machine(), emulates_root=True).hex() if emulate else ""
    return subprocess.run(
        [sys.executable, "-c", LOAD, program, code], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )


def result(code: str, cwd: Path, *, emulate: bool = True) -> object:
    done = execute(f"print(json.dumps({code}))", cwd, emulate=emulate)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_chown_succeeds_and_changes_nothing(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.touch()
    link.symlink_to("file")
    before = file.stat(), link.lstat()
    calls = (
        "os.chown('file', 12345, 12345)",
        "os.lchown('link', 12345, 12345)",
        "os.fchown(os.open('file', os.O_RDONLY), 12345, 12345)",
        "os.chown('link', 12345, 12345, dir_fd=os.open('.', os.O_RDONLY), follow_symlinks=False)",
    )
    assert result(f"[{', '.join(calls)}]", tmp_path) == [None] * 4
    assert (file.stat(), link.lstat()) == before


def test_without_the_filter_chown_is_real(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = result("outcome(os.chown, 'file', 12345, 12345)", tmp_path, emulate=False)
    assert (refused, (tmp_path / "file").stat().st_uid) == (
        (None, 12345) if os.geteuid() == 0 else ("Operation not permitted", os.geteuid())
    )


@pytest.mark.parametrize(
    "call",
    [
        "os.setuid(12345)",
        "os.setgid(12345)",
        "os.setreuid(12345, 12345)",
        "os.setregid(12345, 12345)",
        "os.setresuid(12345, 12345, 12345)",
        "os.setresgid(12345, 12345, 12345)",
        "os.setgroups([12345])",
        "os.initgroups('root', 12345)",
        "libc.setfsuid(12345)",
        "libc.setfsgid(12345)",
    ],
)
def test_ids_are_set_by_word_only(tmp_path: Path, call: str) -> None:
    code = f"before = ids()\n{call}\nprint(ids() == before)"
    done = execute(IDS + code, tmp_path)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_only_device_nodes_are_left_out(tmp_path: Path) -> None:
    calls = (
        "os.mknod('character', stat.S_IFCHR | 0o666, os.makedev(1, 3))",
        "os.mknod('block', stat.S_IFBLK | 0o666, os.makedev(7, 0), dir_fd=os.open('.', os.O_RDONLY))",
        "os.mknod('fifo', stat.S_IFIFO | 0o600)",
        "os.mknod('socket', stat.S_IFSOCK | 0o600)",
        "os.mknod('file', stat.S_IFREG | 0o600)",
    )
    assert result(f"[{', '.join(calls)}]", tmp_path) == [None] * 5
    kinds = {path.name: stat.S_IFMT(path.lstat().st_mode) for path in tmp_path.iterdir()}
    assert kinds == {"fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK, "file": stat.S_IFREG}


def test_it_lasts_across_exec(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = execute("os.execvp('chown', ['chown', '12345:12345', 'file'])", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "file").stat().st_uid == os.geteuid()


@needs_x86_64
def test_x32_calls_do_not_exist(tmp_path: Path) -> None:
    getpid = 0x40000000 | 39
    found = result(f"[libc.syscall({getpid}), os.strerror(ctypes.get_errno())]", tmp_path)
    assert found == [-1, "Function not implemented"]


@needs_x86_64
def test_i386_calls_kill(tmp_path: Path) -> None:
    assert execute(INT_0X80, tmp_path).returncode == -signal.SIGSYS

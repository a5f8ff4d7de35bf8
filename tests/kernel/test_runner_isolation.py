"""What a step can see and do, tried from inside."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attempts import PYTHON, attempt
from tests.sandboxes import Place

NAMESPACES = ("user", "mnt", "pid", "net", "uts", "ipc", "cgroup")


def test_every_namespace_is_another(place: Place) -> None:
    paths = [f"/proc/self/ns/{name}" for name in NAMESPACES]
    inside = attempt(place, *(f"os.readlink({path!r})" for path in paths))
    outside = [os.readlink(path) for path in paths]
    assert all(inner != outer for inner, outer in zip(inside, outside, strict=True))


def test_two_sandboxes_share_the_user_namespace_only(place: Place) -> None:
    script = f"cd /proc/self/ns && readlink {' '.join(NAMESPACES)} && sleep 0.5"
    pieces: list[bytes] = []

    def run_another(piece: bytes) -> None:
        pieces.append(piece)
        place.execute(place.sandbox(script), pieces.append)

    place.execute(place.sandbox(script), run_another)
    one, other = (piece.decode().split() for piece in pieces)
    assert [name for name, a, b in zip(NAMESPACES, one, other, strict=True) if a == b] == ["user"]


def test_only_own_processes_are_seen(place: Place) -> None:
    (pids,) = attempt(place, "sorted(int(name) for name in os.listdir('/proc') if name.isdecimal())")
    assert pids == [1, 2]


def test_the_first_process_gives_nothing_away(place: Place) -> None:
    """It is a Python of the host's: CVE-2019-5736."""
    found = attempt(
        place,
        "os.readlink('/proc/1/exe')",
        "open('/proc/1/exe', 'rb').read(4)",
        "open('/proc/1/exe', 'wb')",
        "os.listdir('/proc/1/fd')",
        "os.listdir('/proc/1/root')",
        "os.listdir('/proc/1/cwd')",
        "open('/proc/1/environ').read()",
        "open('/proc/1/mem', 'rb')",
        "open('/proc/1/maps').read()",
    )
    assert found == ["EACCES"] * 9


def test_standard_input_is_empty(place: Place) -> None:
    assert attempt(place, "os.readlink('/proc/self/fd/0')", "sys.stdin.read()") == ["/dev/null", ""]


def test_no_signal_is_ignored_or_blocked(place: Place) -> None:
    """Whatever the caller does with its own."""
    before = [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGQUIT, signal.SIGUSR1)]
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        done = place.execute(place.sandbox(["grep", "^Sig[BI]", "/proc/self/status"]))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
        for number, handler in zip((signal.SIGQUIT, signal.SIGUSR1), before, strict=True):
            signal.signal(number, handler)
    masks = {name: int(value, 16) for name, _, value in (line.partition(":") for line in done.lines())}
    threads_own = 0b11 << 31  # 32 and 33: posix_spawn(3) of the GNU C library leaves them ignored, and uses them itself
    assert masks["SigBlk"] == 0
    assert masks["SigIgn"] & ~threads_own == 0


def test_devices(place: Place) -> None:
    (names,) = attempt(place, "sorted(os.listdir('/dev'))")
    devices = ["full", "null", "random", "tty", "urandom", "zero"]
    assert names == sorted([*devices, "fd", "stdin", "stdout", "stderr", "ptmx", "pts", "shm", "mqueue"])
    expected = {"full": (1, 7), "null": (1, 3), "random": (1, 8), "tty": (5, 0), "urandom": (1, 9), "zero": (1, 5)}
    numbers = "[os.major(os.stat(f'/dev/{name}').st_rdev), os.minor(os.stat(f'/dev/{name}').st_rdev)]"
    assert attempt(place, f"{{name: {numbers} for name in {devices}}}") == [
        {name: list(number) for name, number in expected.items()}
    ]


def test_devices_work(place: Place) -> None:
    found = attempt(
        place,
        "write('/dev/null')",
        "write('/dev/full')",
        "open('/dev/zero', 'rb').read(3) == bytes(3)",
        "len(open('/dev/urandom', 'rb').read(16))",
        "os.write(os.openpty()[0], b'x')",
        "write('/dev/shm/file')",
        "open('/dev/tty')",
    )
    assert found == [None, "ENOSPC", True, 16, 1, None, "ENXIO"]


def test_no_device_can_be_made(place: Place) -> None:
    made = "os.mknod('/tmp/disk', stat.S_IFBLK | 0o666, os.makedev(254, 0)), os.path.exists('/tmp/disk')"
    (found,) = attempt(place, made)
    assert found in ("EPERM", [None, False])  # refused, or emulated


def test_masked_and_read_only(place: Place) -> None:
    hidden = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts")
    there = [path for path in hidden if os.path.exists(path)]
    assert attempt(place, *(f"open({path!r}, 'rb').read(1).decode()" for path in there)) == [""] * len(there)
    empty = ("/sys/firmware", "/sys/kernel", "/sys/fs/cgroup", "/proc/acpi", "/proc/scsi")
    there = [path for path in empty if os.path.exists(path)]
    assert attempt(place, *(f"os.listdir({path!r})" for path in there)) == [[]] * len(there)
    settings = ("/proc/sys/kernel/core_pattern", "/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger", "/proc/irq/x")
    for error in attempt(place, *(f"write({path!r})" for path in settings)):
        assert error in ("EROFS", "EACCES", "ENOENT")
    assert attempt(place, "write('/sys/class/x')", "os.mkdir('/sys/fs/cgroup/x')") == ["EROFS", "EROFS"]


def test_nothing_can_be_mounted_or_unmounted(place: Place) -> None:
    script = "mount -t tmpfs none /tmp; umount /proc/keys; umount -l /proc; unshare -m true; chroot /tmp true; echo on"
    done = place.execute(place.sandbox(script))
    assert done.lines()[-1] == "on"
    assert sum("ermission" in line or "ermitted" in line or "must be superuser" in line for line in done.lines()) >= 4


def test_mounts_are_nosuid_and_nodev(place: Place) -> None:
    (mountinfo,) = attempt(place, "open('/proc/self/mountinfo').read()")
    lines = str(mountinfo).splitlines()
    mounts = {line.split()[4]: line.split()[5].split(",") for line in lines}
    assert all("nosuid" in options for options in mounts.values())
    with_devices = {"/dev", *(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "pts"))}
    masked = {point for point in mounts if point.startswith("/proc/")}  # /dev/null lies over files
    assert all("nodev" in options for point, options in mounts.items() if point not in with_devices | masked)
    assert not any(str(place.store) in line.split(" - ")[0] for line in lines)


def test_the_hosts_files_are_out_of_sight(place: Place, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    outside = (tmp_path / "secret", place.store, Path.cwd())
    assert attempt(place, *(f"os.stat({str(path)!r})" for path in outside)) == ["ENOENT"] * 3
    empty = ("/home", "/root", "/run", "/srv", "/tmp", "/var/tmp")
    assert attempt(place, *(f"os.listdir({path!r})" for path in empty)) == [[]] * len(empty)
    assert attempt(place, "os.listdir('/..') == os.listdir('/')") == [True]


def test_files_of_the_hosts_root_alone_stay_closed(place: Place) -> None:
    closed = [path for path in ("/etc/shadow", "/etc/gshadow") if os.path.exists(path)]
    for found in attempt(place, *(f"open({path!r}).read()" for path in closed)):
        assert found in ("EACCES", "ENOENT")


def test_the_callers_keys_are_out_of_reach(place: Place) -> None:
    """Twice: the step has a session keyring of its own, and may not ask for any."""
    if not Path("/proc/keys").exists():
        pytest.skip("this kernel has no keyrings")
    keyctl = {"x86_64": 250, "aarch64": 219}[platform.machine()]
    code = (
        f"import ctypes; print(ctypes.CDLL(None).syscall({keyctl}, 0, -3, 0))"  # KEYCTL_GET_KEYRING_ID, the session's
    )
    ours = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(ours) > 0
    assert place.execute(place.sandbox([PYTHON, "-c", code])).output == "-1\n"


def test_a_process_of_the_host_is_out_of_reach(place: Place) -> None:
    (killed,) = attempt(place, f"os.kill({os.getpid()}, 0)")
    assert killed == "ESRCH"


@pytest.mark.parametrize(("ours", "theirs"), [(0, 500), (800, 800)])
def test_steps_go_first_when_memory_is_short(place: Place, ours: int, theirs: int) -> None:
    """A container may have been given a higher score, which only root could lower."""
    file = Path("/proc/self/oom_score_adj")
    before = file.read_text()
    file.write_text(str(ours))
    try:
        assert attempt(place, "int(open('/proc/self/oom_score_adj').read())") == [theirs]
    finally:
        file.write_text(before)

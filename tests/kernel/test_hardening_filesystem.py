"""Files: what a step cannot reach, remount, uncover or destroy outside of its own layer."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from ci_env.ports import Bind
from tests.attempts import attempt
from tests.sandboxes import Place
from tests.system_calls import tried


def fingerprint(directory: Path) -> dict[str, str]:
    """Return all that is below, with types, modes and contents."""
    found: dict[str, str] = {}
    for path in sorted(directory.rglob("*")):
        facts = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(facts.st_mode) else b""
        found[str(path)] = f"{facts.st_mode:o} {hashlib.sha256(content).hexdigest()}"
    return found


def test_a_step_that_deletes_everything_harms_nobody(place: Place, image: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("mine")
    cache = place.store / "cache"
    shown = place.store / "shown"
    for directory in (cache, shown):
        directory.mkdir(mode=0o777)
        (directory / "file").write_text("x")
    (image / "root/data").mkdir()
    (image / "root/data/file").write_text("of the image")
    before = fingerprint(image), fingerprint(shown), sorted(os.listdir("/etc"))
    binds = (Bind(cache, "/cache", writable=True), Bind(shown, "/shown", writable=False))
    script = "/bin/busybox rm -rf / 2>/dev/null; /bin/busybox rm -rf /* 2>/dev/null; echo gone"
    done = place.execute(place.sandbox(script, lowers=[image], host=False, binds=binds))
    assert (done.exit.code, done.output) == (0, "gone\n")
    assert (fingerprint(image), fingerprint(shown), sorted(os.listdir("/etc"))) == before
    assert (tmp_path / "outside").read_text() == "mine"
    assert place.execute(place.sandbox("cat /data/file", lowers=[image], host=False)).output == "of the image"


def test_deleting_the_machines_system_deletes_none_of_it(place: Place) -> None:
    before = sorted(os.listdir("/usr/bin")), sorted(os.listdir("/etc"))
    done = place.execute(place.sandbox("rm -rf --no-preserve-root / 2>/dev/null; echo gone"))
    assert done.lines() == ["gone"]
    assert (sorted(os.listdir("/usr/bin")), sorted(os.listdir("/etc"))) == before
    assert place.execute(place.sandbox("echo usable")).output == "usable\n"


def test_mounts_cannot_be_changed(place: Place) -> None:
    path = "ctypes.addressof(ctypes.create_string_buffer(b'/proc/sys'))"
    nothing = "ctypes.addressof(ctypes.create_string_buffer(64))"
    calls = (
        f'outcome("mount", 0, {path}, 0, 0x1020, 0)',  # MS_REMOUNT | MS_BIND, writable
        f'outcome("mount_setattr", -100, {path}, 0x8000, {nothing}, 32)',
        f'outcome("umount2", {path}, 2)',
        f'outcome("pivot_root", {path}, {path})',
        f'outcome("move_mount", -100, {path}, -100, {path}, 0)',
        f'outcome("open_tree", -100, {path}, 1)',
        'outcome("fsopen", 0, 0)',
        'outcome("fsmount", -1, 0, 0)',
        'outcome("fspick", -100, 0, 0)',
        'outcome("fsconfig", -1, 0, 0, 0, 0)',
    )
    assert tried(place, f"[{', '.join(calls)}]") == ["EPERM"] * len(calls)


def test_no_mount_is_tied_to_one_of_the_host(place: Place) -> None:
    """What is mounted on the host later does not appear inside, and nothing of a step's on the host."""
    (mountinfo,) = attempt(place, "open('/proc/self/mountinfo').read()")
    optional = [line.split(" - ")[0].split()[6:] for line in str(mountinfo).splitlines()]
    assert optional == [[]] * len(optional)


def test_a_root_of_its_own_is_not_the_way_out(place: Place) -> None:
    """chroot(2) is allowed to root; a directory kept open outside of the new root leads no further."""
    code = (
        "[os.mkdir('/opt/jail'), (was := os.open('/', os.O_RDONLY)), os.chroot('/opt/jail'), os.fchdir(was), "
        "[os.chdir('..') for _ in range(64)], os.chroot('.'), sorted(os.listdir('/'))][-1]"
    )
    ((names,), (own,)) = attempt(place, code), attempt(place, "sorted(os.listdir('/'))")
    assert names == own


@pytest.mark.parametrize(
    "path",
    ["/proc/1/root", "/proc/1/cwd", "/proc/1/task/1/root", "/proc/self/root/..", "/..", "/proc/self/cwd/../../.."],
)
def test_no_path_leads_out(place: Place, path: str, tmp_path: Path) -> None:
    (tmp_path / "outside").touch()
    (found,) = attempt(place, f"os.path.exists({path!r} + {str(tmp_path / 'outside')!r})")
    assert found is False


def test_devices_are_the_kernels_whatever_an_image_has_there(place: Place, image: Path) -> None:
    """CVE-2025-31133: a /dev/null that leads elsewhere would have masks made of that."""
    (image / "root/dev/pts").mkdir(parents=True)
    (image / "root/secret").write_text("secret")
    for name in ("null", "zero", "full", "tty", "ptmx", "pts/0", "console", "mem", "kmsg", "shm", "fd", "core"):
        (image / "root/dev" / name).symlink_to("/secret")
    script = "ls /dev; stat -c '%F %t:%T' /dev/null /dev/zero /dev/full; cat /proc/keys /proc/timer_list 2>/dev/null"
    done = place.execute(place.sandbox(script, lowers=[image], host=False))
    names, rest = done.lines()[:-3], done.lines()[-3:]
    assert rest == ["character special file 1:3", "character special file 1:5", "character special file 1:7"]
    assert not {"console", "mem", "kmsg", "core", "kvm", "fuse", "net"} & set(names)
    assert (image / "root/secret").read_text() == "secret"


def test_devices_cannot_be_replaced_by_what_they_hide(place: Place) -> None:
    found = attempt(place, "os.unlink('/dev/null')", "os.rename('/dev/zero', '/dev/null')", "os.rmdir('/dev/pts')")
    assert found == ["EBUSY"] * 3


def test_nothing_in_dev_and_shm_is_executed(place: Place) -> None:
    script = (
        "cp /bin/true /dev/program; /dev/program; echo $?; cp /bin/true /dev/shm/program; /dev/shm/program; echo $?"
    )
    assert [line for line in place.execute(place.sandbox(script)).lines() if line.isdecimal()] == ["126", "126"]


def test_shared_memory_is_its_own_and_bounded(place: Place, tmp_path: Path) -> None:
    outside = Path("/dev/shm/ci-env-test-outside")
    outside.write_text("x")
    try:
        assert attempt(place, "os.listdir('/dev/shm')", "os.listdir('/dev/mqueue')") == [[], []]
    finally:
        outside.unlink()
    script = "dd if=/dev/zero of=/dev/shm/much bs=1M count=100 2>/dev/null; stat -c %s /dev/shm/much"
    assert int(place.execute(place.sandbox(script)).output) <= 64 << 20


def test_ipc_of_the_host_is_not_seen(place: Place) -> None:
    """System V's has names for everybody: /proc/sysvipc of a namespace of its own is empty."""
    names = ("shm", "sem", "msg")
    assert attempt(place, *(f"len(open('/proc/sysvipc/{name}').readlines())" for name in names)) == [1] * 3


def test_terminals_of_the_host_are_not_seen(place: Place) -> None:
    """devpts is a new one (CVE-2025-52565): its first terminal is the step's own, while the host has one."""
    host = os.openpty()
    try:
        found = attempt(
            place,
            "os.listdir('/dev/pts')",
            "[pair := os.openpty(), os.ttyname(pair[1])][-1]",
            "oct(os.stat('/dev/pts/ptmx').st_mode & 0o777)",
            "os.path.exists('/dev/console')",
        )
    finally:
        for descriptor in host:
            os.close(descriptor)
    assert found == [["ptmx"], "/dev/pts/0", "0o666", False]

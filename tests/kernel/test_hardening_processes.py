"""Process 1, which is ours, and other processes: what a step cannot read, write, trace or change of them."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
from pathlib import Path

from tests.attempts import attempt
from tests.sandboxes import Place
from tests.system_calls import tried


def test_process_1_tells_nothing_of_the_host(place: Place) -> None:
    """Its command line and name are there for everybody to read."""
    told, name = attempt(place, "open('/proc/1/cmdline').read()", "open('/proc/1/comm').read()")
    assert str(told).rstrip("\0") == "ci-env launcher"
    assert name == "ci-env\n"
    assert not any(str(path) in f"{told}{name}" for path in (place.store, sys.prefix, Path.cwd()))


def test_nothing_of_process_1_can_be_written(place: Place) -> None:
    files = ("mem", "clear_refs", "oom_score_adj", "coredump_filter", "timerslack_ns", "attr/current", "uid_map")
    refused = attempt(place, *(f"write('/proc/1/{name}')" for name in files))
    assert set(refused) <= {"EACCES", "EPERM", "EINVAL", "ENOENT"}
    assert attempt(place, "write('/proc/1/comm')") in (["EINVAL"], ["EACCES"])
    assert attempt(place, "open('/proc/1/comm').read()") == ["ci-env\n"]


def test_namespaces_and_memory_of_process_1_are_closed(place: Place) -> None:
    closed = ("ns/mnt", "ns/pid", "ns/user", "exe", "root", "cwd", "fd/0", "fd/3")
    assert attempt(place, *(f"os.open('/proc/1/{name}', os.O_RDONLY)" for name in closed)) == ["EACCES"] * len(closed)
    assert attempt(place, "os.listdir('/proc/1/map_files')", "os.listdir('/proc/1/task/1/fd')") == ["EACCES"] * 2
    assert attempt(place, "open('/proc/1/auxv', 'rb').read()", "open('/proc/1/stack').read()") == ["EACCES"] * 2


def test_process_1_cannot_be_traced(place: Place) -> None:
    """What ptrace(2) guards: its registers, its memory, its descriptors."""
    calls = (
        'outcome("ptrace", 16, 1, 0, 0)',  # PTRACE_ATTACH
        'outcome("ptrace", 0x4206, 1, 0, 0)',  # PTRACE_SEIZE
        'outcome("process_vm_readv", 1, ctypes.addressof(vector), 1, ctypes.addressof(vector), 1, 0)',
        'outcome("process_vm_writev", 1, ctypes.addressof(vector), 1, ctypes.addressof(vector), 1, 0)',
        'outcome("pidfd_getfd", libc.syscall(NUMBERS["pidfd_open"], 1, 0), 3, 0)',
        'outcome("kcmp", 1, 2, 0, 0, 0)',
    )
    before = "place = ctypes.create_string_buffer(8)\nvector = (ctypes.c_ulong * 2)(ctypes.addressof(place), 8)\n"
    assert tried(place, f"[{', '.join(calls)}]", before=before) == ["EPERM"] * len(calls)


def test_process_1_cannot_be_stopped_or_killed(place: Place) -> None:
    done = place.execute(place.sandbox("kill -9 1; kill -STOP 1; kill -TERM -1; sleep 0.2; echo still there"))
    assert done.lines()[-1:] == ["still there"] or done.exit.signal == 15


def test_priority_for_memory_is_no_better_than_the_callers(place: Place) -> None:
    """A step may take back what ci-env has added, where a user without rights has added it: proc(5)."""
    before = int(Path("/proc/self/oom_score_adj").read_text())
    lower = f"os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'{before - 1}')"
    lowest = "os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'-1000')"
    assert attempt(place, lower, lowest) == ["EACCES"] * 2


def test_scheduling_is_nobodys_to_take(place: Place) -> None:
    found = attempt(
        place,
        "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
        "os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))",
        "os.setpriority(os.PRIO_PROCESS, 0, -5)",
    )
    assert set(found) <= {"EPERM", "EACCES"}


def test_limits_of_a_process(place: Place) -> None:
    (status,) = attempt(place, "open('/proc/self/limits').read()")
    limits = {line[:25].strip(): line[25:].split()[:2] for line in str(status).splitlines()[1:]}
    most = 0 if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0 else 1
    assert limits["Max core file size"] == [str(most)] * 2  # no file, and with 1 nothing for the host's core_pattern
    assert limits["Max realtime priority"] == limits["Max nice priority"] == ["0", "0"]


def test_a_crash_leaves_no_memory_behind(place: Place) -> None:
    done = place.execute(place.sandbox("cd /workspace; sh -c 'kill -SEGV $$'; echo $?; ls -A"))
    assert [line for line in done.lines() if "ault" not in line] == ["139"]


def test_no_process_of_the_host_is_in_sight(place: Place) -> None:
    assert attempt(place, f"os.path.exists('/proc/{os.getpid()}')") in ([False], [os.getpid() <= 2])
    (found,) = attempt(place, "[os.getppid(), os.getpgid(0), os.getsid(0)]")
    assert json.dumps(found) == "[1, 2, 2]"


def test_the_interpreter_cannot_be_written_to(place: Place) -> None:
    """CVE-2019-5736: an image has it executed in place of its command, keeps hold of it, and waits to be another."""
    interpreter = Path(sys.executable).resolve()
    before = hashlib.sha256(interpreter.read_bytes()).digest()
    layer = place.layer()
    (layer / "host/opt").mkdir(parents=True)
    (layer / "host/opt/sh").symlink_to("/proc/self/exe")
    (layer / "host/opt/script").write_text("#!/proc/self/exe\n")
    (layer / "host/opt/script").chmod(0o755)
    attack = """
import os
held = os.open("/proc/self/exe", os.O_PATH)
os.set_inheritable(held, True)
write = f"echo hold; for i in 1 2 3; do echo written >>/proc/self/fd/{held} && echo done; sleep 0.2; done"
os.execv("/bin/sh", ["sh", "-c", write])
"""
    for argv in (("/opt/sh", "-S", "-c", attack), ("/opt/script", "-S", "-c", attack)):
        done = place.execute(place.sandbox(argv, lowers=[layer], env={"PATH": "/bin", "PYTHONHOME": "/usr"}))
        assert "done" not in done.lines()
    assert hashlib.sha256(interpreter.read_bytes()).digest() == before

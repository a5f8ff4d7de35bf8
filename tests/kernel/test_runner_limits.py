"""Limits: what is reached is told apart, the host and others stay as they are."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from ci_env.pipeline.model import DEFAULT_PIDS, Limits
from ci_env.ports import Exit
from ci_env_runners.cgroup_home import find_homes
from tests.processes import running
from tests.sandboxes import Place, Ran

PYTHON = "/usr/bin/python3"
MIB = 1 << 20
HOG = f"exec {PYTHON} -c 'x = bytearray(200 << 20); print(len(x))'"
FORK_BOMB = f"""exec {PYTHON} -c '
import os, time
children = 0
try:
    while children < 20000:
        if os.fork() == 0:
            time.sleep(300)
        children += 1
except OSError as error:
    print(children, error.strerror)
    raise SystemExit(3)
'"""
THREAD_BOMB = f"""exec {PYTHON} -c '
import os, threading, time
threading.stack_size(1 << 16)
threads = 0
try:
    while threads < 20000:
        threading.Thread(target=time.sleep, args=(300,), daemon=True).start()
        threads += 1
except RuntimeError:
    print(threads, flush=True)
    os._exit(3)
'"""


def controllers() -> frozenset[str]:
    return frozenset(name for home in find_homes() for name in home.controllers)


@pytest.mark.groups
def test_memory_ends_with_oom(place: Place) -> None:
    done = place.execute(place.sandbox(HOG, limits=Limits(memory_bytes=64 * MIB)))
    assert (done.exit, done.output) == (Exit(None, 9, "oom"), "")
    assert done.used is not None
    assert 32 * MIB < (done.used.peak_memory_bytes or 0) <= 64 * MIB


@pytest.mark.groups
def test_memory_of_many_processes_counts_together(place: Place) -> None:
    script = f"for i in 1 2 3 4 5 6; do {PYTHON} -c 'import time; x = bytearray(24 << 20); time.sleep(2)' & done; "
    done = place.execute(
        place.sandbox(
            f"{script} s=0; for i in 1 2 3 4 5 6; do wait %$i || s=1; done; exit $s",
            limits=Limits(memory_bytes=64 * MIB),
        )
    )
    assert done.exit.reason == "oom"


@pytest.mark.groups
def test_memory_of_tmpfs_counts(place: Place) -> None:
    done = place.execute(
        place.sandbox("head -c 60000000 /dev/zero >/dev/shm/file", limits=Limits(memory_bytes=32 * MIB))
    )
    assert done.exit.reason == "oom"


@pytest.mark.groups
def test_who_gets_along_with_a_killed_child_has_not_failed(place: Place) -> None:
    done = place.execute(place.sandbox(f'sh -c "{HOG}" || echo went on', limits=Limits(memory_bytes=64 * MIB)))
    assert done.exit == Exit(0, None, "exit")
    assert done.lines()[-1] == "went on"


@pytest.mark.groups
def test_page_cache_is_no_reason_to_fail(place: Place) -> None:
    script = "head -c 100000000 /dev/zero >file; cat file >/dev/null; echo done"
    done = place.execute(place.sandbox(script, limits=Limits(memory_bytes=32 * MIB)))
    assert (done.exit.code, done.output) == (0, "done\n")


@pytest.mark.groups
def test_so_little_memory_that_nothing_runs(place: Place) -> None:
    done = place.execute(place.sandbox("true", limits=Limits(memory_bytes=64 << 10)))
    assert done.exit.reason == "oom"


@pytest.mark.groups
def test_a_fork_bomb_is_told(place: Place) -> None:
    done = place.execute(place.sandbox(FORK_BOMB, limits=Limits(pids=50)))
    assert done.exit == Exit(3, None, "pids")
    assert done.output == "48 Resource temporarily unavailable\n"  # and PID 1, and itself


def test_a_thread_bomb_meets_a_limit_without_one_in_the_file(place: Place) -> None:
    done = place.execute(place.sandbox(THREAD_BOMB))
    assert (done.exit.code, done.exit.reason) == (3, "pids" if "pids" in controllers() else "exit")
    assert int(done.output.split()[0]) < DEFAULT_PIDS


def test_a_fork_bomb_meets_its_limit_without_groups_too(place: Place) -> None:
    """Where nothing but a resource limit holds, it counts what the run's user has in this and in other sandboxes."""
    done = place.execute(place.sandbox(FORK_BOMB, limits=Limits(pids=50)))
    assert done.exit.code == 3
    assert int(done.output.split()[0]) < 50


@pytest.mark.groups
def test_processors_are_shared_out(place: Place) -> None:
    busy = f"exec {PYTHON} -c 'import time; e = time.monotonic() + 2\nwhile time.monotonic() < e: pass'"
    began = time.monotonic()
    done = place.execute(place.sandbox(busy, limits=Limits(cpus_milli=200)))
    took_ms = (time.monotonic() - began) * 1000
    assert done.exit.code == 0
    assert done.used is not None
    assert (done.used.cpu_ms or 0) < 0.4 * took_ms


@pytest.mark.parametrize("limit", [64, 600])
def test_open_files(place: Place, limit: int) -> None:
    script = f"ulimit -Sn; ulimit -Hn; {PYTHON} -c 'import os\nwhile True: os.dup(0)' 2>&1 | tail -1"
    done = place.execute(place.sandbox(script, limits=Limits(open_files=limit)))
    assert done.lines() == [str(limit), str(limit), "OSError: [Errno 24] Too many open files"]


def test_a_disk_filler_ends(place: Place) -> None:
    began = time.monotonic()
    done = place.execute(place.sandbox("cat /dev/zero >file", limits=Limits(disk_bytes=32 * MIB)))
    assert done.exit == Exit(None, 9, "disk")
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("place_of_file", ["/etc/file", "/workspace/a/b/c", "/tmp/file"])
def test_what_is_written_anywhere_counts(place: Place, place_of_file: str) -> None:
    directory = os.path.dirname(place_of_file)
    script = f"mkdir -p {directory}; chmod 700 {directory}; head -c 20000000 /dev/zero >{place_of_file}"
    done = place.execute(place.sandbox(script, limits=Limits(disk_bytes=16 * MIB)))
    assert done.exit.reason == "disk"


def test_what_is_written_at_once_before_the_end_counts(place: Place) -> None:
    done = place.execute(place.sandbox("head -c 20000000 /dev/zero >file", limits=Limits(disk_bytes=16 * MIB)))
    assert done.exit.reason == "disk"


def test_holes_and_second_names_cost_nothing(place: Place) -> None:
    script = "truncate -s 1G file; head -c 9000000 /dev/zero >one; ln one two; ln one three; cp one /dev/shm"
    done = place.execute(place.sandbox(script, limits=Limits(disk_bytes=16 * MIB)))
    assert done.exit == Exit(0, None, "exit")


def test_small_files_count_too(place: Place) -> None:
    """A million of them is what hurts a machine; here the limit is as much smaller as the number."""
    script = f"exec {PYTHON} -c 'for i in range(10**6): open(str(i), \"x\")'"
    done = place.execute(place.sandbox(script, limits=Limits(disk_bytes=4 * MIB)))
    assert done.exit.reason == "disk"


def test_a_file_too_deep_for_a_path_counts(place: Place) -> None:
    way = "import os\nfor i in range(60): os.mkdir('d' * 200); os.chdir('d' * 200)\n"
    program = f"{way}open('file', 'wb').write(bytes(20 << 20))"
    done = place.execute(place.sandbox(f'exec {PYTHON} -c "{program}"', limits=Limits(disk_bytes=24 * MIB)))
    assert done.exit == Exit(0, None, "exit")
    done = place.execute(place.sandbox(f'exec {PYTHON} -c "{program}"', limits=Limits(disk_bytes=16 * MIB)))
    assert done.exit.reason == "disk"


def test_time_is_told_apart(place: Place) -> None:
    limits = Limits(memory_bytes=64 * MIB, pids=50, disk_bytes=64 * MIB)
    done = place.execute(place.sandbox("sleep 300", timeout_s=1, limits=limits))
    assert done.exit == Exit(None, 9, "timeout")


def test_all_stopped_and_then_out_of_time(place: Place, nap: str) -> None:
    script = f"setsid sh -c '(setsid {nap} & {nap}) & {nap}' & sleep 0.3; kill -STOP -1; {nap}"
    began = time.monotonic()
    done = place.execute(place.sandbox(script, timeout_s=2))
    assert done.exit.reason == "timeout"
    assert time.monotonic() - began < 10
    assert not running(nap)


def test_nobody_else_is_hurt(place: Place) -> None:
    """Beside a hog, a fork bomb and a disk filler, another sandbox of the run goes on as if it were alone."""
    script = (
        f"for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; {PYTHON} -c 'bytearray(40 << 20)'; echo x >$i; done; echo well"
    )
    limits = Limits(memory_bytes=64 * MIB, pids=40, disk_bytes=16 * MIB)
    bad = [HOG, FORK_BOMB, "cat /dev/zero >file"]
    done: dict[str, Ran] = {}

    def execute(name: str, limits: Limits) -> None:
        done[name] = place.execute(place.sandbox(name, limits=limits))

    threads = [threading.Thread(target=execute, args=(name, limits)) for name in bad]
    threads.append(threading.Thread(target=execute, args=(script, Limits())))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (done[script].exit, done[script].output) == (Exit(0, None, "exit"), "well\n")
    assert done["cat /dev/zero >file"].exit.reason == "disk"
    assert done[FORK_BOMB].exit.code == 3


def test_what_a_step_has_used_is_known(place: Place) -> None:
    script = f"{PYTHON} -c 'x = bytearray(50 << 20)\nfor i in range(3 * 10**6): pass'; head -c 3000000 /dev/zero >file"
    used = place.execute(place.sandbox(script)).used
    assert used is not None
    assert (used.cpu_ms or 0) >= 50
    assert 50 * MIB <= (used.peak_memory_bytes or 0) < 300 * MIB
    assert used.written_bytes is not None
    assert used.read_bytes is not None
    assert used.written_bytes >= 2_900_000


def test_daemons_that_forked_twice_are_counted_and_end(place: Place, nap: str) -> None:
    script = f"(setsid sh -c '(setsid {nap} &) &' &) ; sleep 0.2; exit 4"
    done = place.execute(place.sandbox(script, limits=Limits(pids=20)))
    assert done.exit == Exit(4, None, "exit")
    assert not running(nap)


def test_output_closed_by_the_step(place: Place) -> None:
    done = place.execute(place.sandbox("exec >&- 2>&-; sleep 1; exit 5", limits=Limits(pids=20)))
    assert (done.exit, done.output) == (Exit(5, None, "exit"), "")


def test_a_line_without_end(place: Place) -> None:
    taken = 0

    def count(piece: bytes) -> None:
        nonlocal taken
        taken += len(piece)

    done = place.execute(
        place.sandbox("head -c 300000000 /dev/zero | tr '\\0' x", limits=Limits(memory_bytes=64 * MIB)), count
    )
    assert (done.exit.code, taken) == (0, 300_000_000)


@pytest.mark.groups
def test_inside_the_group_is_not_seen(place: Place) -> None:
    done = place.execute(place.sandbox("cat /proc/self/cgroup /proc/1/cgroup; ls /sys/fs/cgroup"))
    assert {line.rpartition(":")[2] for line in done.lines()} == {"/"}


def test_measures_say_what_groups_hold(place: Place) -> None:
    place.execute(place.sandbox("true"))
    held = {measure.rpartition("-")[2] for measure in place.runner.measures() if measure.startswith("cgroup-v")}
    assert held == controllers() & {"cpu", "memory", "pids"}


@pytest.mark.root
def test_no_group_is_left(place: Place) -> None:
    for script in ("true", "kill -9 $$"):
        place.execute(place.sandbox(script))
    place.runner.close()
    left = [path for home in find_homes() for path in Path(home.directory).glob("ci-env-*")]
    assert not [path for path in left if f"{os.stat(place.store).st_ino:x}" in path.name]

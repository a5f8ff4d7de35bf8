"""How steps end, and that nothing outlives them."""

from __future__ import annotations

import errno
import os
import threading
import time
import tracemalloc

import pytest

from ci_env.errors import HostError
from ci_env.ports import Exit
from ci_env_runners import namespace, sandboxes
from tests.processes import running, wait_until
from tests.sandboxes import Place, Ran

PYTHON = "/usr/bin/python3"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("exit 0", Exit(0, None, "exit")),
        ("exit 42", Exit(42, None, "exit")),
        ("exit 255", Exit(255, None, "exit")),
        ("kill -9 $$", Exit(None, 9, "signal")),
        ("kill -TERM $$", Exit(None, 15, "signal")),
        ("kill -INT $$", Exit(None, 2, "signal")),
        ("kill -PIPE $$", Exit(None, 13, "signal")),
        ("kill -QUIT $$", Exit(None, 3, "signal")),
        ("yes | head -1 >/dev/null", Exit(0, None, "exit")),
        (f"exec {PYTHON} -c 'import os; os.abort()'", Exit(None, 6, "signal")),
        ("ulimit -f 1; exec head -c 9999999 /dev/zero >file", Exit(None, 25, "signal")),
    ],
)
def test_exit_status_and_signal(place: Place, script: str, expected: Exit) -> None:
    assert place.execute(place.sandbox(script)).exit == expected


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("no-such-program",), 127, "ci-env: cannot execute no-such-program: not found in the image\n"),
        (("/no/such",), 127, "ci-env: cannot execute /no/such: not found in the image\n"),
        (("/etc/passwd",), 126, "ci-env: cannot execute /etc/passwd: Permission denied\n"),
        (("/etc",), 126, "ci-env: cannot execute /etc: Permission denied\n"),
        (("/etc/passwd/below",), 127, "ci-env: cannot execute /etc/passwd/below: not found in the image\n"),
        (("x" * 300,), 126, f"ci-env: cannot execute {'x' * 300}: File name too long\n"),
    ],
)
def test_what_cannot_be_executed(place: Place, argv: tuple[str, ...], code: int, message: str) -> None:
    done = place.execute(place.sandbox(argv))
    assert (done.exit, done.output) == (Exit(code, None, "exit"), message)


def test_too_long_a_command(place: Place) -> None:
    done = place.execute(place.sandbox(("echo", "x" * (1 << 18))))
    assert (done.exit.code, done.output) == (126, "ci-env: cannot execute echo: Argument list too long\n")


def test_the_working_directory_is_no_place_for_programs(place: Place) -> None:
    layer = place.layer()
    (layer / "root/workspace").mkdir()
    planted = layer / "root/workspace/ls"
    planted.write_text("#!/bin/sh\necho planted\n")
    planted.chmod(0o755)
    done = place.execute(place.sandbox(("ls", "-d", "/"), env={}, lowers=[layer]))
    assert done.output == "/\n"


def test_stdout_and_stderr_are_one_stream_in_order(place: Place) -> None:
    script = "for i in 1 2 3 4 5; do echo out$i; echo err$i >&2; done"
    done = place.execute(place.sandbox(script))
    assert done.lines() == [f"{stream}{i}" for i in range(1, 6) for stream in ("out", "err")]


@pytest.mark.parametrize("user", ["root", "1000"])
def test_output_can_be_opened_again(place: Place, user: str) -> None:
    user = user if place.runner.is_owner_mapped() else "root"
    done = place.execute(place.sandbox("echo a >/dev/stderr; echo b >/dev/stdout; echo c | tee /dev/stderr", user=user))
    assert (done.exit.code, sorted(done.lines())) == (0, ["a", "b", "c", "c"])


def test_timeout_ends_daemons_too(place: Place, nap: str) -> None:
    script = f"setsid sh -c 'setsid {nap} & {nap}' & trap '' TERM HUP; echo ready; {nap}; {nap}"
    began = time.monotonic()
    done = place.execute(place.sandbox(script, timeout_s=1))
    assert 1 <= time.monotonic() - began < 4
    assert (done.exit.reason, done.exit.signal, done.output) == ("timeout", 9, "ready\n")
    assert not running(nap)


def test_timeout_of_a_step_that_never_stops_writing(place: Place) -> None:
    done = place.execute(place.sandbox("yes", timeout_s=1), lambda piece: None)
    assert done.exit.reason == "timeout"


def test_what_runs_in_the_background_ends_with_the_step(place: Place, nap: str) -> None:
    done = place.execute(place.sandbox(f"setsid {nap} & {nap} & echo done"))
    assert (done.exit, done.output) == (Exit(0, None, "exit"), "done\n")
    assert not running(nap)


def test_orphans_are_reaped(place: Place) -> None:
    script = "for i in 1 2 3 4 5 6 7 8; do (sleep 0.1 &) ; done; sleep 1; cat /proc/[0-9]*/stat | grep -c ' Z ' || true"
    assert place.execute(place.sandbox(script)).output == "0\n"


def test_signals_to_all_spare_the_first(place: Place) -> None:
    done = place.execute(
        place.sandbox("trap 'echo asked' TERM; kill -TERM 1; sleep 0.5; kill -9 1; kill -STOP 1; echo on")
    )
    assert (done.exit, done.lines()[-2:]) == (Exit(0, None, "exit"), ["asked", "on"])  # `sleep` may have been asked too


def test_output_that_cannot_be_kept_ends_the_step(place: Place, nap: str) -> None:
    def refuse(_piece: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        place.execute(place.sandbox(f"echo text; {nap}"), refuse)
    assert not running(nap)


def test_much_output_needs_little_memory(place: Place) -> None:
    taken = 0

    def count(piece: bytes) -> None:
        nonlocal taken
        assert len(piece) <= 1 << 16
        taken += len(piece)

    tracemalloc.start()
    try:
        done = place.execute(place.sandbox("head -c 100000000 /dev/zero"), count)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert (done.exit.code, taken) == (0, 100_000_000)


def test_two_at_once(place: Place) -> None:
    names = ("a", "b")
    sandboxes = [place.sandbox(f"echo {name} >/tmp/mine; sleep 1; cat /tmp/mine") for name in names]
    done: dict[str, Ran] = {}

    def execute(index: int) -> None:
        done[names[index]] = place.execute(sandboxes[index])

    threads = [threading.Thread(target=execute, args=(index,)) for index in range(2)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: ran.output for name, ran in done.items()} == {"a": "a\n", "b": "b\n"}
    assert time.monotonic() - began < 2


def cancelled(place: Place, script: str, *, now: bool) -> tuple[Ran, float]:
    """Run `script`, cancel it once it has written a line, and return how and how fast it ended."""
    began = 0.0

    def cancel(piece: bytes) -> None:
        nonlocal began
        pieces.append(piece)
        if not began:
            began = time.monotonic()
            place.runner.cancel(now=now)

    pieces: list[bytes] = []
    ran = place.execute(place.sandbox(script), cancel)
    return Ran(ran.exit, b"".join(pieces).decode(), ran.layer), time.monotonic() - began


def test_cancelled_politely_a_step_may_tidy_up(place: Place) -> None:
    script = "trap 'echo tidied; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
    ran, took_s = cancelled(place, script, now=False)
    assert (ran.exit, ran.lines()[-1]) == (Exit(3, None, "cancelled"), "tidied")  # a shell may say what ended before
    assert took_s < 3


def test_cancelled_politely_a_stubborn_step_is_killed(place: Place, monkeypatch: pytest.MonkeyPatch, nap: str) -> None:
    monkeypatch.setattr(sandboxes, "GRACE_S", 1)
    ran, took_s = cancelled(place, f"trap '' TERM; echo ready; {nap}; {nap}", now=False)
    assert (ran.exit, 0.9 < took_s < 3) == (Exit(None, 9, "cancelled"), True)
    assert not running(nap)


def test_cancelled_now(place: Place, nap: str) -> None:
    ran, took_s = cancelled(place, f"trap '' TERM; echo ready; {nap}", now=True)
    assert (ran.exit, took_s < 1) == (Exit(None, 9, "cancelled"), True)


def test_cancelled_before_it_starts(place: Place, nap: str) -> None:
    place.runner.cancel(now=False)
    began = time.monotonic()
    done = place.execute(place.sandbox(nap))
    assert (done.exit.reason, time.monotonic() - began < 3) == ("cancelled", True)
    assert not running(nap)


def test_cancelled_politely_while_it_starts(place: Place, nap: str) -> None:
    """Whatever stage it is at, a wish is not lost: it would take GRACE_S until the step is killed."""
    for after_ms in range(24):
        with namespace.open(place.store) as runner:
            runner.run(place.sandbox("true"), lambda piece: None)  # now its launcher is there
            timer = threading.Timer(after_ms / 1000, runner.cancel, kwargs={"now": False})
            timer.start()
            began = time.monotonic()
            ended = runner.run(place.sandbox(f"exec {nap}"), lambda piece: None)
            assert (ended.reason, ended.signal in (9, 15)) == ("cancelled", True), after_ms
            assert time.monotonic() - began < 5, f"cancelled after {after_ms} ms"


def test_a_wish_that_comes_too_late_is_no_error(place: Place, nap: str) -> None:
    """The monitor is held up, so that the step's end and the wish to end it reach it at the same time."""
    results: list[Ran] = []
    thread = threading.Thread(target=lambda: results.append(place.execute(place.sandbox(f"exec {nap}"))))
    thread.start()
    step = wait_until(lambda: running(nap))[0]
    first = step.parent()
    monitor = first.parent()
    monitor.signal("STOP")
    step.signal("TERM")
    wait_until(first.has_ended)
    place.runner.cancel(now=True)
    monitor.signal("CONT")
    thread.join(timeout=10)
    assert [ran.exit for ran in results] == [Exit(None, 15, "cancelled")]


def test_the_launcher_dies(place: Place, nap: str) -> None:
    caught: list[BaseException] = []

    def execute() -> None:
        try:
            place.execute(place.sandbox(f"echo; {nap}"))
        except HostError as error:
            caught.append(error)

    thread = threading.Thread(target=execute)
    thread.start()
    step = wait_until(lambda: running(nap))[0]
    shell = step.parent()
    shell.parent().parent().parent().signal("KILL")
    thread.join(timeout=10)
    assert [str(error) for error in caught] == ["a sandbox ended without a word"]
    wait_until(lambda: not running(nap))
    with pytest.raises(HostError, match="the process that starts sandboxes has died"):
        place.execute(place.sandbox("true"))
    if os.geteuid() != 0:  # root's own programs need no launcher
        with pytest.raises(HostError, match="the process that starts sandboxes has died"):
            place.runner.as_owner(["true"])

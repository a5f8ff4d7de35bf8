"""Programs of ours that run under the ids that layers are owned by, and what a runner says of itself."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

import pytest

from ci_env.errors import HostError, Interrupted
from ci_env_runners import sandboxes
from tests.processes import running, wait_until
from tests.sandboxes import Place


def answer(place: Place, argv: Sequence[str], stdin: bytes = b"") -> tuple[int, str]:
    """Return the exit status and what is printed."""
    with open(os.memfd_create("in"), "w+b") as given, open(os.memfd_create("out"), "w+b") as taken:
        given.write(stdin)
        given.seek(0)
        code = place.runner.as_owner(argv, stdin=given.fileno(), stdout=taken.fileno())
        taken.seek(0)
        return code, taken.read().decode()


@pytest.mark.parametrize(
    ("script", "expected"),
    [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("no-such-program", 127)],
)
def test_exit_status(place: Place, script: str, expected: int) -> None:
    assert answer(place, ["sh", "-c", f"({script}) 2>/dev/null"])[0] == expected


def test_input_and_output(place: Place) -> None:
    assert answer(place, ["tr", "a-z", "A-Z"], b"text") == (0, "TEXT")


def test_input_is_empty_where_none_is_given(place: Place) -> None:
    assert place.runner.as_owner(["sh", "-c", 'test -z "$(cat)" && test $(readlink /proc/self/fd/0) = /dev/null']) == 0


def test_it_is_root_of_what_layers_hold(place: Place) -> None:
    """Files of all ids can be made, read and removed."""
    layer = place.layer()
    script = "touch file; chown 7:8 file || exit 1; chmod 0 file; cat file; stat -c %u:%g file; rm file"
    code, output = answer(place, ["sh", "-c", f"cd {layer}/root; {script}"])
    if place.runner.is_owner_mapped():
        assert (code, output) == (0, "7:8\n")
    else:
        assert code == 1


def test_it_sees_the_hosts_files(place: Place) -> None:
    assert answer(place, [sys.executable, "-c", "print('found')"])[1] == "found\n"


def test_two_at_once(place: Place) -> None:
    """A program that waits holds up no other, and no sandbox."""
    reader, writer = os.pipe()

    def run_others(_piece: bytes) -> None:
        assert answer(place, ["echo", "one"]) == (0, "one\n")
        os.write(writer, b"x")

    try:
        done = place.execute(place.sandbox("echo start; sleep 0.2"), run_others)
        assert (done.exit.code, os.read(reader, 1)) == (0, b"x")
    finally:
        os.close(reader)
        os.close(writer)


def test_what_is_said_of_the_host_fits_what_is_seen(place: Place) -> None:
    lines = place.execute(place.sandbox("cat /proc/self/uid_map")).lines()
    assert place.runner.is_owner_mapped() == (sum(int(line.split()[2]) for line in lines) > 1)
    (mode,) = [measure for measure in place.runner.measures() if measure.startswith("ids-")]
    assert (mode == "ids-root") == (os.geteuid() == 0)
    assert ("idmapped-store" in place.runner.measures()) == (mode == "ids-root")


def test_a_closed_runner_leaves_no_process(place: Place) -> None:
    place.execute(place.sandbox("true"))
    assert len(launchers()) == 1
    place.runner.close()
    wait_until(lambda: not launchers())


def launchers() -> list[str]:
    """Return the command lines of this process's children."""
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        children = file.read().split()
    found: list[str] = []
    for child in children:
        with open(f"/proc/{child}/cmdline", "rb") as file:
            found.append(file.read().replace(b"\0", b" ").decode())
    return [command for command in found if command.startswith("ci-env launcher")]


def test_an_error_leaves_the_runner_usable(place: Place) -> None:
    broken = place.sandbox("true")
    (place.store / "mnt").rmdir()
    with pytest.raises(HostError, match="make room for the root filesystem"):
        place.execute(broken)
    (place.store / "mnt").mkdir()
    assert place.execute(place.sandbox("echo fine")).output == "fine\n"


@pytest.mark.parametrize("now", [True, False])
def test_cancelled_it_ends_too(place: Place, monkeypatch: pytest.MonkeyPatch, nap: str, now: bool) -> None:
    monkeypatch.setattr(sandboxes, "GRACE_S", 1)
    threading.Timer(0.5, place.runner.cancel, kwargs={"now": now}).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        place.runner.as_owner(["sh", "-c", f"trap '' TERM INT HUP; exec {nap}"])
    assert (0.4 if now else 1.4) < time.monotonic() - began < 4
    wait_until(lambda: not running(nap))
    assert place.runner.as_owner(["true"]) == 0  # what tidies up afterwards is not ended


def test_what_it_started_ends_with_its_caller(place: Place, nap: str) -> None:
    """The caller is interrupted while it waits, as by a signal before anything runs."""
    threading.Timer(0.5, signal.raise_signal, args=(signal.SIGUSR1,)).start()
    before = signal.signal(signal.SIGUSR1, _interrupt)
    try:
        with pytest.raises(Interrupted):
            place.runner.as_owner(nap.split())
        wait_until(lambda: not running(nap))
    finally:
        signal.signal(signal.SIGUSR1, before)


def _interrupt(number: int, _frame: object) -> None:
    raise Interrupted(number)

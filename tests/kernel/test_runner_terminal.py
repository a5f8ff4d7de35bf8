"""A shell in a sandbox, at a terminal that the test types on, and without one."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ci_env.frozen import replace
from ci_env.ports import Exit
from ci_env_runners import sandboxes
from tests.processes import running
from tests.sandboxes import Place
from tests.step_program import argv, environment

PROMPT = "inside$ "


class Terminal:
    """A terminal with the program at it."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self._master = master
        self.process = process
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def await_text(self, text: str, timeout_s: float = 20) -> str:
        """Return what is shown up to and with `text`, and forget it."""
        deadline = time.monotonic() + timeout_s
        while text not in self.shown:
            assert time.monotonic() < deadline, f"{text!r} is not in {self.shown!r}"
            if select.select([self._master], [], [], 0.2)[0]:
                self.shown += os.read(self._master, 65536).decode()
        before, found, self.shown = self.shown.partition(text)
        return before + found

    def resize(self, rows: int, columns: int) -> None:
        """Change its size; the kernel sends SIGWINCH to the process group in the foreground."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def settings(self) -> list[object]:
        settings: list[object] = termios.tcgetattr(self._master)
        return settings


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store/mnt").mkdir(parents=True)
    return tmp_path / "store"


@contextmanager
def terminal(store: Path, script: str) -> Generator[Terminal]:
    """Give a terminal, 24 by 80, that controls the program as a login does."""
    master, slave = os.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    program = argv("shell", store, script, "setsid", "--ctty", "--wait")
    with subprocess.Popen(program, env=environment(), stdin=slave, stdout=slave, stderr=slave) as process:
        try:
            yield Terminal(master, process)
        finally:
            process.kill()
            os.close(slave)
            os.close(master)


def test_prompt_commands_and_exit_status(store: Path) -> None:
    with terminal(store, "exec sh") as at:
        at.await_text(PROMPT)
        at.type("echo $((6*7)); tty\n")
        assert "42\r\n/dev/pts/0\r\n" in at.await_text(PROMPT)
        at.type("exit 7\n")
        at.await_text("ended: exit 7 None")
        assert at.process.wait(timeout=20) == 0


def test_window_size_follows(store: Path) -> None:
    with terminal(store, "exec sh") as at:
        at.await_text(PROMPT)
        at.type("stty size\n")
        assert "24 80\r\n" in at.await_text(PROMPT)
        at.resize(40, 132)
        time.sleep(0.5)
        at.type("stty size\n")
        assert "40 132\r\n" in at.await_text(PROMPT)


def test_ctrl_c_is_for_the_program_in_the_foreground(store: Path, nap: str) -> None:
    with terminal(store, "exec sh") as at:
        at.await_text(PROMPT)
        at.type(f"echo rea''dy; {nap}\n")
        at.await_text("ready\r\n")
        time.sleep(0.3)
        at.type("\x03")
        at.await_text(PROMPT, timeout_s=5)
        at.type("echo status=$?\n")
        at.await_text("status=130\r\n")
        assert at.process.poll() is None


def test_ctrl_d_and_ctrl_z(store: Path, nap: str) -> None:
    with terminal(store, "exec sh -i") as at:
        at.await_text(PROMPT)
        at.type(f"echo rea''dy; {nap}\n")
        at.await_text("ready\r\n")
        time.sleep(0.3)
        at.type("\x1a")
        at.await_text("Stopped")
        at.type("kill -9 %1\n")
        at.await_text(PROMPT)
        at.type("wait; echo again; exit\nexit\n")  # a shell warns once of what has been stopped
        at.await_text("again\r\n")
        at.await_text("ended: exit")


def test_terminal_is_put_back(store: Path) -> None:
    with terminal(store, "stty raw; echo raw; sleep 1; exit 3") as at:
        before = at.settings()
        at.await_text("raw")
        assert at.settings() != before
        at.await_text("ended: exit 3 None")
        at.process.wait(timeout=20)
        assert at.settings() == before


def test_terminal_is_put_back_after_a_refusal(store: Path) -> None:
    with terminal(store, "true") as at:
        before = at.settings()
        (store / "mnt").rmdir()
        at.await_text("HostError: cannot make room for the root filesystem")
        at.process.wait(timeout=20)
        assert at.settings() == before


def test_a_user_may_open_its_terminal_again(store: Path) -> None:
    with terminal(store, "echo one >/dev/tty; echo two >/dev/stderr; echo three >/dev/pts/0") as at:
        at.await_text("one\r\ntwo\r\nthree\r\n")


def test_a_step_may_let_go_of_its_terminal_and_take_it_again(store: Path) -> None:
    script = "exec </dev/null >/dev/null 2>&1; sleep 0.5; echo back >/dev/tty; exit 5"
    with terminal(store, script) as at:
        at.await_text("back\r\n")
        at.await_text("ended: exit 5 None")


def test_signal_of_the_shell(store: Path) -> None:
    with terminal(store, "kill -9 $$") as at:
        at.await_text("ended: signal None 9")


def test_much_output_arrives_whole(store: Path) -> None:
    with terminal(store, "seq 100000; exit 4") as at:
        shown = at.await_text("ended: exit 4 None", timeout_s=60)
        assert shown.startswith("1\r\n2\r\n")
        assert "\r\n99999\r\n100000\r\n" in shown


def without_terminal(store: Path, script: str, stdin: bytes) -> tuple[int, bytes]:
    done = subprocess.run(
        argv("shell", store, script), env=environment(), input=stdin, capture_output=True, check=False, timeout=60
    )
    assert done.stderr == b""
    return done.returncode, done.stdout


def test_without_a_terminal_input_is_executed_to_its_end(store: Path) -> None:
    code, output = without_terminal(store, "exec sh", b"echo $((6*7))\nexit 9\n")
    assert code == 0
    assert b"42\r\n" in output
    assert output.endswith(b"ended: exit 9 None\n")


def test_without_a_terminal_the_shell_ends_with_its_input(store: Path) -> None:
    _, output = without_terminal(store, "exec sh", b"echo last\n")
    assert output.endswith(b"ended: exit 0 None\n")


def test_a_program_that_repeats_much_input_does_not_hang(store: Path) -> None:
    """It stops reading until what it writes is read: neither side may wait for the other."""
    lines = b"".join(b"%06d\n" % number for number in range(60_000))
    _, output = without_terminal(store, "stty -echo; exec cat", lines)
    assert output.endswith(b"059999\r\nended: exit 0 None\n")
    assert output.count(b"\n") > 60_000  # some lines are also echoed, before the terminal has been told not to


def test_a_shell_that_is_cancelled_ends_after_its_grace(
    place: Place, monkeypatch: pytest.MonkeyPatch, nap: str
) -> None:
    monkeypatch.setattr(sandboxes, "GRACE_S", 1)
    stubborn = place.sandbox(f"trap '' TERM HUP; stty -icanon; {nap}; {nap}")
    threading.Timer(0.5, lambda: place.runner.cancel(now=False)).start()
    began = time.monotonic()
    ended = place.runner.shell(stubborn)
    assert replace(ended, used=None) == Exit(None, 9, "cancelled")
    assert 1 < time.monotonic() - began < 4
    assert not running(nap)

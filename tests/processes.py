"""Processes of this machine, found by their command line, in whatever namespace they are."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    pid: int

    def parent(self) -> Found:
        return Found(int(self._stat()[1]))

    def has_ended(self) -> bool:
        """Tell whether it is a zombie: one that still has its parent to wait for."""
        return self._stat()[0] == "Z"

    def _stat(self) -> list[str]:
        """Return the fields of proc_pid_stat(5) after the name."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()

    def signal(self, name: str) -> None:
        os.kill(self.pid, signal.Signals[f"SIG{name}"])


def running(words: str) -> list[Found]:
    """Return the processes whose command line is `words`; what has ended and awaits its parent does not count."""
    found: list[Found] = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if command.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace") == words:
                found.append(Found(int(process.name)))
    return found


def wait_until(check: Callable[[], T], timeout_s: float = 10) -> T:
    """Return what `check` gives once that is true."""
    deadline = time.monotonic() + timeout_s
    while not (result := check()):
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)
    return result

"""How a process ended, in words."""

from __future__ import annotations

import pytest

from ci_env.capsule.ending import describe
from ci_env.capsule.record import Ended
from ci_env.pipeline.model import NO_LIMITS, Limits
from ci_env.pipeline.quantities import parse_size, written_size

LIMITS = Limits(memory_bytes=64 << 20, pids=50, disk_bytes=10**9)


@pytest.mark.parametrize(
    ("ended", "code", "number", "limits", "words"),
    [
        (None, None, None, None, ""),
        ("exit", 2, None, LIMITS, "exit status 2"),
        ("signal", None, 9, LIMITS, "signal 9 (SIGKILL)"),
        ("signal", None, 40, LIMITS, "signal 40"),
        ("timeout", None, 9, LIMITS, "timeout after 7 s"),
        ("cancelled", 0, None, LIMITS, "cancelled"),
        ("oom", None, 9, LIMITS, "memory limit of 64MiB reached, signal 9 (SIGKILL)"),
        ("oom", 137, None, NO_LIMITS, "out of memory, exit status 137"),
        ("oom", 137, None, None, "memory limit reached, exit status 137"),
        ("pids", 1, None, LIMITS, "limit of 50 processes reached, exit status 1"),
        ("pids", 1, None, NO_LIMITS, "limit of 4096 processes reached, exit status 1"),
        ("pids", 1, None, None, "limit of processes reached, exit status 1"),
        ("disk", None, 9, LIMITS, "disk limit of 1GB reached"),
        ("disk", None, 9, None, "disk limit reached"),
    ],
)
def test_words(ended: Ended | None, code: int | None, number: int | None, limits: Limits | None, words: str) -> None:
    assert describe(ended, code, number, timeout_s=7, limits=limits) == words


@pytest.mark.parametrize("text", ["0B", "1B", "1023B", "1KiB", "64MiB", "1025MiB", "2GiB", "3TiB", "2048TiB"])
def test_sizes_are_written_as_they_are_read(text: str) -> None:
    assert written_size(parse_size(text)) == text

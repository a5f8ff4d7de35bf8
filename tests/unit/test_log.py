"""The limits of a step's log, and what its readers are told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ci_env.digest import Digest
from ci_env.errors import HostError
from ci_env.execute.log import MAX_LINE_BYTES, MAX_LOG_BYTES, StepLog


def test_a_long_line_says_what_is_missing(tmp_path: Path) -> None:
    lines: list[str] = []
    log = StepLog(tmp_path / "log", lines.append)
    log.feed(b"x" * MAX_LINE_BYTES + b"12345")
    log.feed(b"67\nnext\n")
    log.close()
    assert lines == ["x" * MAX_LINE_BYTES + " [ci-env: 7 more bytes of this line are not kept]", "next"]


def test_a_long_log_says_what_is_missing_and_keeps_its_end(tmp_path: Path) -> None:
    lines: list[str] = []
    log = StepLog(tmp_path / "log", lines.append)
    line = b"y" * (MAX_LINE_BYTES - 1) + b"\n"
    for _ in range(MAX_LOG_BYTES // len(line) + 300):
        log.feed(line)
    assert lines[-1] == "[ci-env: output beyond 64 MiB is not kept, but for its last lines]"
    log.feed(b"it failed because\nof th")
    log.feed(b"is")
    digest = log.close()
    assert (tmp_path / "log").stat().st_size < MAX_LOG_BYTES + 101 * MAX_LINE_BYTES
    assert lines[-3:] == [line.decode().strip(), "it failed because", "of this"]
    assert len(log.tail()) == 12
    assert log.tail()[-2:] == ("it failed because", "of this")
    assert digest == Digest.of((tmp_path / "log").read_bytes())


def test_the_last_line_needs_no_newline(tmp_path: Path) -> None:
    lines: list[str] = []
    log = StepLog(tmp_path / "log", lines.append)
    log.feed(b"one\ntwo")
    log.close()
    assert (lines, log.tail()) == (["one", "two"], ("one", "two"))
    assert (tmp_path / "log").read_bytes() == b"one\ntwo"


def test_no_output_is_an_empty_log(tmp_path: Path) -> None:
    log = StepLog(tmp_path / "log", list[str]().append)
    log.close()
    assert (log.tail(), (tmp_path / "log").read_bytes()) == ((), b"")


def test_a_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot write"):
        StepLog(tmp_path / "absent" / "log", list[str]().append)


def test_an_error_closes_the_file(tmp_path: Path) -> None:
    def write() -> None:
        with StepLog(tmp_path / "log", list[str]().append):
            assert _is_open(tmp_path / "log")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert not _is_open(tmp_path / "log")


def _is_open(path: Path) -> bool:
    return any(os.path.realpath(link) == str(path) for link in Path("/proc/self/fd").iterdir())

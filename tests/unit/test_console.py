"""What is drawn on a terminal, what stays there, and which view is chosen."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.cells import cell_len

from ci_env.errors import HostError
from ci_env.events import Event, JobFinished, Note, Progress
from ci_env.ui.board import Board
from ci_env.ui.rows import rows
from ci_env.ui.sink import Sink
from ci_env.ui.view import Format, choose
from tests.view_events import (
    RUN,
    STEPS,
    Terminal,
    failing,
    failure,
    finished,
    passing,
    play,
    run_finished,
    run_started,
    running,
)

MIB = 2**20
TERMINAL_ENV = {"TERM": "xterm-256color"}
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give rich, which asks the environment itself, the same terminal everywhere."""
    monkeypatch.setenv("TERM", TERMINAL_ENV["TERM"])
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def drawn(*events: Event, height: int = 50, elapsed_s: float = 62.5) -> list[str]:
    """Return the rows of a board `elapsed_s` after the events, left and right parts joined."""
    clock = Clock()
    board = Board(clock)
    play(board.apply, events)
    clock.now_s += elapsed_s
    found = rows(board, height)
    assert len(found) <= height
    return [("".join(text for text, _ in row.left) + f" [{row.right}]").removesuffix(" []") for row in found]


def shown(*events: Event, env: Mapping[str, str] = TERMINAL_ENV) -> str:
    """Return all that a terminal gets."""
    terminal = Terminal()
    with choose("auto", stdout=io.StringIO(), stderr=terminal, env=env) as emit:
        play(emit, events)
    return terminal.getvalue()


def rest(text: str) -> list[str]:
    """Return what was written after the drawing ended, without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text.rpartition(SHOW_CURSOR)[2]).split("\n")


def test_running_job_shows_steps_and_last_lines() -> None:
    lines = [f"line {number}" for number in range(9)]
    assert drawn(run_started("unit"), *running("unit", *lines)) == [
        "⠴ unit [1 min 02 s]",
        "  ● deps [cached]",
        "  ⠴ test [1 min 02 s]",
        *[f"    │ line {number}" for number in range(4, 9)],
        "  · report",
        "1 of 3 steps [1 min 02 s]",
    ]


def test_jobs_that_ended_or_wait_take_one_row() -> None:
    assert drawn(run_started("a", "b", "c", "d"), *passing("a"), *failing("b"), JobFinished("c", "skipped", 0)) == [
        "✓ a  3 steps, 1 cached [2 min 05 s]",
        "✗ b  3 steps, 1 cached [4.0 s]",
        "  ✗ test  exit status 2 [3.4 s]",
        "– c  3 steps [skipped]",  # noqa: RUF001
        "· d  3 steps [waiting]",
        "6 of 12 steps, 1 failed [1 min 02 s]",
    ]


def test_transfers_show_bar_bytes_and_rate() -> None:
    events = [
        Progress("layer sha256:ab", 0, 40 * MIB, finished=False),
        Progress("layer sha256:ab", 10 * MIB, 40 * MIB, finished=False),
        Progress("an unknown amount", 5 * MIB, None, finished=False),
    ]
    assert drawn(*events, elapsed_s=2.0) == [
        "↓ layer sha256:ab    ━━━━━─────────────── [10.0 of 40.0 MiB    5.0 MiB/s]",
        "↓ an unknown amount   [5.0 MiB        0 B/s]",
        " [2.0 s]",
    ]
    done = Progress("layer sha256:ab", 40 * MIB, 40 * MIB, finished=True)
    assert drawn(run_started("unit"), *events[:2], done)[-1] == "0 of 3 steps, 40.0 MiB fetched [1 min 02 s]"
    assert "  +2 more" in drawn(*(Progress(f"layer {number}", 0, 1, finished=False) for number in range(5)))


@pytest.mark.parametrize("height", [1, 2, 3, 5, 8, 13, 24, 45])
def test_never_taller_than_the_terminal(height: int) -> None:
    jobs = [f"job {number}" for number in range(12)]
    events = [event for job in jobs[:8] for event in running(job, *["x"] * 9)]
    lines = drawn(run_started(*jobs), *events, height=height)
    assert lines[-1] == "8 of 36 steps [1 min 02 s]"
    if height == 5:
        assert lines[3] == "  +14 more"
    if height == 24:
        assert lines[:3] == [
            "⠴ job 0  1 of 3 steps [1 min 02 s]",
            "  ⠴ test [1 min 02 s]",
            "⠴ job 1  1 of 3 steps [1 min 02 s]",
        ]
        assert lines[-2] == "· 4 jobs waiting"


def test_detail_does_not_change_with_each_line_of_output() -> None:
    few, many = (
        drawn(run_started("a", "b"), *running("a", *output), *running("b", *output), height=12)
        for output in ("x", "xxxxx")
    )
    assert sum("│" in line for line in few) == 2
    assert sum("│" in line for line in many) == 6
    assert [line for line in few if "│" not in line] == [line for line in many if "│" not in line]


def test_untrusted_text_is_neither_markup_nor_control() -> None:
    evil = "[bold red]x[/] [/nope] \x1b[2J\x1b]0;title\x07 \x07 :smile:"
    lines = drawn(run_started("unit"), *running("unit", evil))
    assert "    │ [bold red]x[/] [/nope]  \\x07 :smile:" in lines
    text = shown(run_started("unit"), *running("unit", evil), Note("info", evil), failure("unit", evil))
    assert "\x1b[2J" not in text
    assert "\x1b]" not in text
    assert "\x07" not in text
    assert "note: [bold red]x[/] [/nope]  \\x07 :smile:" in text


@pytest.mark.parametrize("columns", [20, 80, 160])
def test_no_line_is_wider_than_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    wide = "世界" * 200
    text = shown(run_started("unit"), Progress("l" * 90, 1, 2, finished=False), *running("unit", wide, "a\tb" * 99))
    drawing = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", text.partition(SHOW_CURSOR)[0])
    lines = re.split(r"[\r\n]+", drawing)
    assert any("世" in line for line in lines)
    assert max(map(cell_len, lines)) <= columns


@pytest.mark.parametrize("columns", [40, 80])
def test_the_last_line_leaves_room_for_what_a_terminal_echoes(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `^C` that went to a line of its own would keep the first row of the drawing from being erased."""
    monkeypatch.setenv("COLUMNS", str(columns))
    text = shown(run_started("unit"), *running("unit", "line"))
    drawing = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", text.partition(SHOW_CURSOR)[0])
    footers = [line for line in re.split(r"[\r\n]+", drawing) if " of 3 steps" in line]
    assert footers
    assert max(map(cell_len, footers)) <= columns - len("^C")


def test_cancelled_is_said_once() -> None:
    events = (run_started("a"), *running("a", "line"), finished("a", "test", "cancelled", "cancelled"))
    assert "  ■ test      cancelled" in rest(shown(*events, run_finished("cancelled")))
    (row,) = [row for row in drawn(*events) if "test" in row]
    assert row.count("cancelled") == 1


def test_tree_summary_and_failures_stay() -> None:
    text = shown(run_started("a", "b"), *passing("a"), *failing("b"), failure("b", "boom"), run_finished("failed"))
    assert rest(text) == [
        "✓ a          2 min 05 s",
        "  ● deps         cached",
        "  ✓ test          3.4 s",
        "  ✓ report        3.4 s",
        "✗ b               4.0 s",
        "  ● deps         cached",
        "  ✗ test          3.4 s  exit status 2",
        "  – report      skipped",  # noqa: RUF001
        "",
        f"run {RUN}: failed in 12.3 s (1 failed, 2 passed, 2 cached, 1 skipped)",
        "",
        "Failed: b / test: exit status 2",
        "",
        "  $ pytest -x",
        "",
        "  | boom",
        "",
        f"  All of its output:  ci-env runs logs {RUN}",
        "  Replay it:",
        f"  ci-env replay {RUN} --step b/test",
        "",
    ]


def test_large_tree_shows_steps_only_where_something_went_wrong() -> None:
    jobs = [f"job {number}" for number in range(12)]
    events = [event for job in jobs[:-1] for event in passing(job)]
    lines = rest(shown(run_started(*jobs), *events, *failing(jobs[-1]), run_finished("failed")))
    assert [line.split("  ")[0] for line in lines[:11]] == [f"✓ {job}" for job in jobs[:-1]]
    assert lines[13] == "  ✗ test          3.4 s  exit status 2"


def test_cached_run_draws_nothing() -> None:
    events = [finished("unit", step, "cached") for step in STEPS]
    text = shown(run_started("unit"), *events, JobFinished("unit", "cached", 3), run_finished("passed"))
    assert HIDE_CURSOR not in text
    assert "deps" in text
    assert f"run {RUN}: \x1b[32mpassed\x1b[0m in 12.3 s (3 cached)\n" in text


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, HostError])
def test_cursor_comes_back_however_the_run_ends(kind: type[BaseException]) -> None:
    terminal = Terminal()
    error = kind("stopped")

    def fail_while_drawn() -> None:
        with choose("auto", stdout=io.StringIO(), stderr=terminal, env=TERMINAL_ENV) as emit:
            play(emit, [run_started("unit"), *running("unit", "x")])
            raise error

    with pytest.raises(kind):
        fail_while_drawn()
    written = terminal.getvalue()
    assert written.rindex(SHOW_CURSOR) > written.rindex(HIDE_CURSOR)
    assert "▸ test      not ended" in "\n".join(rest(written))


def test_run_that_ends_before_it_began_leaves_nothing() -> None:
    assert shown(run_started("unit")) == ""
    assert shown() == ""


def test_events_of_many_threads() -> None:
    jobs = [f"job {number}" for number in range(8)]
    terminal = Terminal()
    with choose("auto", stdout=io.StringIO(), stderr=terminal, env=TERMINAL_ENV) as emit:
        emit(run_started(*jobs))
        events = {job: [*running(job, *["x"] * 50), Note("info", f"from {job}"), *passing(job)] for job in jobs}
        threads = [threading.Thread(target=play, args=(emit, events[job])) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        emit(run_finished("passed"))
    assert all(f"note: from {job}" in terminal.getvalue() for job in jobs)
    assert "(16 passed, 8 cached)" in terminal.getvalue()


def test_late_events_draw_nothing() -> None:
    terminal = Terminal()
    with choose("auto", stdout=io.StringIO(), stderr=terminal, env=TERMINAL_ENV) as emit:
        emit(run_started("unit"))
    play(emit, [*running("unit", "x"), Note("warning", "late")])
    assert re.sub(r"\x1b\[\d+m", "", terminal.getvalue()) == "warning: late\n"


def is_drawn(format: Format, stream: io.StringIO, env: Mapping[str, str]) -> bool:  # noqa: A002
    with choose(format, stdout=io.StringIO(), stderr=stream, env=env) as emit:
        play(emit, [run_started("unit"), *running("unit", "x")])
    return HIDE_CURSOR in stream.getvalue()


def test_only_a_terminal_is_drawn_on() -> None:
    assert is_drawn("auto", Terminal(), TERMINAL_ENV)
    assert is_drawn("rich", Terminal(), TERMINAL_ENV)
    assert not is_drawn("plain", Terminal(), TERMINAL_ENV)
    assert not is_drawn("auto", Terminal(), {"TERM": "dumb"})
    assert not is_drawn("auto", Terminal(), {})
    assert not is_drawn("auto", io.StringIO(), TERMINAL_ENV)
    assert not is_drawn("rich", io.StringIO(), TERMINAL_ENV | {"FORCE_COLOR": "1"})


@pytest.mark.parametrize(
    ("stream", "env", "has_colour"),
    [
        (Terminal, TERMINAL_ENV, True),
        (Terminal, TERMINAL_ENV | {"NO_COLOR": "1"}, False),
        (Terminal, TERMINAL_ENV | {"NO_COLOR": ""}, True),
        (Terminal, {"TERM": "dumb"}, False),
        (io.StringIO, TERMINAL_ENV, False),
        (io.StringIO, {"FORCE_COLOR": "1"}, True),
        (io.StringIO, {"FORCE_COLOR": "0"}, False),
        (io.StringIO, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
@pytest.mark.parametrize("format", ["auto", "plain"])
def test_colour(format: Format, stream: type[io.StringIO], env: Mapping[str, str], *, has_colour: bool) -> None:  # noqa: A002
    opened = stream()
    with choose(format, stdout=io.StringIO(), stderr=opened, env=env) as emit:
        play(emit, [run_started("unit"), *failing("unit", "x"), run_finished("failed")])
    assert ("\x1b[31m" in opened.getvalue()) == has_colour


def test_json_is_the_result_and_goes_to_stdout() -> None:
    stdout, stderr = io.StringIO(), Terminal()
    with choose("json", stdout=stdout, stderr=stderr, env=TERMINAL_ENV) as emit:
        play(emit, [run_started("unit"), run_finished("passed")])
    assert [json.loads(line)["event"] for line in stdout.getvalue().splitlines()] == ["RunStarted", "RunFinished"]
    assert stderr.getvalue() == ""


@pytest.mark.parametrize("format", ["plain", "json"])
def test_run_goes_on_when_the_reader_is_gone(format: Format) -> None:  # noqa: A002
    reader, writer = os.pipe()
    os.close(reader)
    with (
        open(writer, "w") as pipe,
        choose(format, stdout=pipe, stderr=pipe, env={}) as emit,
    ):
        play(emit, [run_started("unit"), *passing("unit"), run_finished("passed")])
    # and closing the stream, which flushes it, did not raise either


def test_json_that_could_not_be_written_is_an_error() -> None:
    def write_to_a_full_disk() -> None:
        with open("/dev/full", "w") as full, choose("json", stdout=full, stderr=io.StringIO(), env={}) as emit:
            play(emit, [run_started("unit"), run_finished("passed")])

    with pytest.raises(HostError, match="standard output: No space left on device"):
        write_to_a_full_disk()


def test_sink_keeps_the_error_and_writes_no_more(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with open(tmp_path / "file") as unwritable:
        sink = Sink(unwritable)
        assert sink.write("lost") == 4
        assert isinstance(sink.error, OSError)
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe:
        sink = Sink(pipe)
        sink.write("lost")
        sink.write("lost too")
        assert sink.error is not None
        assert sink.error.errno == errno.EPIPE


def test_views_that_a_cached_run_needs_import_nothing_heavy() -> None:
    program = "import sys, ci_env.ui.view, ci_env.ui.terminal; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert not {"rich", "subprocess", "tempfile", "shutil", "concurrent.futures"} & set(done.stdout.split())

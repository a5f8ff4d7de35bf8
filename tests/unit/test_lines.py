"""The views that write lines, and the words that all views share."""

from __future__ import annotations

import json
import os
import signal
import threading
from types import FrameType

import pytest

from ci_env.events import Event, JobFinished, Note, Progress, RunStarted, StepFinished, StepOutput
from ci_env.frozen import replace
from ci_env.ui.clean import clean, shorten
from ci_env.ui.durations import duration
from ci_env.ui.lines import JsonView, PlainView
from ci_env.ui.sizes import part, rate, size
from tests.view_events import (
    RUN,
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


def plain(*events: Event, colour: bool = False) -> list[str]:
    written: list[str] = []
    play(PlainView(written.append, colour=colour), events)
    assert all(text.endswith("\n") for text in written)
    return "".join(written).split("\n")[:-1]


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1.0 s"),
        (3_456, "3.4 s"),
        (59_999, "59.9 s"),
        (60_000, "1 min 00 s"),
        (125_000, "2 min 05 s"),
        (3_599_999, "59 min 59 s"),
        (3_720_000, "1 h 02 min"),
        (360_000_000, "100 h 00 min"),
    ],
)
def test_duration(duration_ms: int, text: str) -> None:
    assert duration(duration_ms) == text


def test_sizes() -> None:
    assert [size(0), size(1023), size(1024), size(43_200_000)] == ["0 B", "1023 B", "1.0 KiB", "41.2 MiB"]
    assert size(5 * 2**50) == "5120.0 TiB"
    assert part(MIB // 2, 8 * MIB) == "0.5 of 8.0 MiB"
    assert part(MIB // 2, None) == "512.0 KiB"
    assert rate(1.5 * MIB) == "1.5 MiB/s"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain [bold]text[/bold]\tand é 世界", "plain [bold]text[/bold]\tand é 世界"),
        ("bell \x07 and null \x00", "bell \\x07 and null \\x00"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[38:2::1:2:3mred\x1b[m", "red"),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "alink"),
        ("\x1bPdevice control\x1b\\a\x1b_application\x1b\\b", "ab"),
        ("\x1b[2J\x1b[1;1H\x1b[?25l\x1bcgone", "gone"),
        ("\x9b31mred\x9d0;title\x9c", "red"),
        ("\x1b\x1b[0m[31mrejoined", "\\x1b[31mrejoined"),
        ("cut \x1b[3", "cut 3"),
        ("10%\r50%\r100%", "100%"),
        ("windows\r", "windows"),
        ("vertical\x0bform\x0cline\n", "vertical\\x0bform\\x0cline\\x0a"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("caf\udce9 \ud800", "caf\\xe9 \\ud800"),
    ],
)
def test_clean(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m\x1b[0m"),
        ("\x1b[31mred", "\x1b[31mred\x1b[0m"),
        ("\x1b[31m\x1b[2Jred \x07", "\x1b[31mred \\x07\x1b[0m"),
        ("\x1b[>4;2mnot a colour", "not a colour"),
        ("\x1b]0;title\x07", ""),
    ],
)
def test_clean_with_colour_keeps_colours_only(text: str, cleaned: str) -> None:
    assert clean(text, colour=True) == cleaned


def test_shorten() -> None:
    assert [shorten("abcd", 4), shorten("abcde", 4)] == ["abcd", "abc…"]


def test_json_lines_hold_every_field_in_order() -> None:
    written: list[str] = []
    emit = JsonView(written.append)
    play(
        emit,
        [
            run_started("unit"),
            StepOutput("unit", "test", 'caf\udce9 é "\x1b[31m"\n'),
            finished("unit", "test", "passed"),
        ],
    )
    assert all(line.endswith("\n") and line.isascii() and line.count("\n") == 1 for line in written)
    first, second, third = (json.loads(line) for line in written)
    assert first == {
        "event": "RunStarted",
        "run_id": RUN,
        "jobs": [{"name": "unit", "steps": ["deps", "test", "report"]}],
    }
    assert second["line"] == 'caf\udce9 é "\x1b[31m"\n'
    assert list(third) == ["event", "job", "step", "status", "duration_ms", "ending", "output"]
    assert third["output"].startswith("sha256:")


def test_events_of_many_threads_stay_whole() -> None:
    reader, writer = os.pipe()
    with open(reader) as lines, open(writer, "w") as file:
        emit = JsonView(file.write)
        threads = [
            threading.Thread(target=play, args=(emit, [StepOutput("unit", str(number), "x" * 40)] * 25))
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        file.close()
        found = [json.loads(line) for line in lines]
    assert len(found) == 200


@pytest.mark.timeout(10)
def test_signal_handler_may_emit_while_its_thread_writes() -> None:
    written: list[str] = []

    def write(text: str) -> None:
        written.append(text)
        if len(written) == 1:
            signal.raise_signal(signal.SIGUSR1)

    def stop(number: int, frame: FrameType | None) -> None:
        view(Note("info", "stopping"))

    view = PlainView(write, colour=False)
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        view(run_started("unit"))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert written == [f"run {RUN}: 1 job, 3 steps\n", "note: stopping\n"]


def test_one_job_needs_no_prefix() -> None:
    assert plain(run_started("unit"), *passing("unit"), run_finished("passed")) == [
        f"run {RUN}: 1 job, 3 steps",
        "deps: cached",
        "test: started",
        "test | all good",
        "test: passed, 3.4 s",
        "report: started",
        "report: passed, 3.4 s",
        f"run {RUN}: passed in 12.3 s (2 passed, 1 cached)",
    ]


def test_parallel_jobs_can_be_told_apart() -> None:
    lines = plain(run_started("unit", "lint"), *running("unit", "from unit"), *running("lint", "from lint"))
    assert "unit/test | from unit" in lines
    assert "lint/test | from lint" in lines
    assert plain(run_started("unit", "lint"), JobFinished("lint", "passed", 125_000))[-1] == "lint: passed, 2 min 05 s"


def test_transfer_takes_two_lines() -> None:
    events = [Progress("layer sha256:ab", done * MIB, 40 * MIB, finished=False) for done in range(40)]
    lines = plain(*events, Progress("layer sha256:ab", 40 * MIB, 40 * MIB, finished=True))
    assert lines[0] == "layer sha256:ab: started, 40.0 MiB"
    assert lines[1].startswith("layer sha256:ab: done, 40.0 MiB in ")
    assert len(lines) == 2
    assert plain(Progress("a small one", 12, None, finished=True)) == ["a small one: done, 12 B"]


def test_notes() -> None:
    assert plain(Note("info", "one\x07"), Note("warning", "two")) == ["note: one\\x07", "warning: two"]


def test_output_cannot_pass_for_ours() -> None:
    lines = plain(run_started("unit"), *running("unit", "\r\x1b[2K\x1b[Aok\nrun: passed\x1b]52;c;Zm9v\x07"))
    assert lines[-1] == "test | ok\\x0arun: passed"


def test_names_are_cleaned_and_cut() -> None:
    lines = plain(RunStarted("r\x07", ()), StepFinished("\x1b[2Jjob", "s" * 90, "cached", 0, "", None))
    assert lines == ["run r\\x07: 0 jobs, 0 steps", f"job/{'s' * 59}…: cached"]


def test_failure_comes_last_and_ends_with_the_replay_line() -> None:
    lines = plain(
        run_started("unit"),
        *failing("unit", "one", "two"),
        failure("unit", "one", "two\x1b[2J", command="set -x\npytest -x\n"),
        run_finished("failed"),
    )
    start = lines.index(f"run {RUN}: failed in 12.3 s (1 failed, 1 cached, 1 skipped)")
    assert lines[start + 1 :] == [
        "",
        "Failed: unit / test: exit status 2",
        "",
        "  $ set -x",
        "    pytest -x",
        "",
        "  | one",
        "  | two",
        "",
        f"  All of its output:  ci-env runs logs {RUN}",
        "  Replay it:",
        f"  ci-env replay {RUN} --step unit/test",
    ]


def test_every_failure_has_its_block() -> None:
    lines = plain(run_started("a", "b"), failure("a"), failure("b", "x"), run_finished("failed"))
    assert [line.strip() for line in lines if line.startswith("  ci-env replay")] == [
        f"ci-env replay {RUN} --step a/test",
        f"ci-env replay {RUN} --step b/test",
    ]
    assert lines.count("  It wrote nothing.") == 1


def test_a_hint_stands_before_the_command_that_replays() -> None:
    lines = plain(replace(failure("unit", "boom"), hint="look \x1b[2Jthere"), run_finished("failed"))
    assert [line for line in lines if "Hint:" in line] == ["  Hint: look there"]
    assert lines[-1] != "  Hint: look there"


def test_long_script_is_cut() -> None:
    script = "\n".join(f"echo {number}" for number in range(25))
    lines = plain(failure("unit", command=script), run_finished("failed"))
    assert "    echo 8" in lines
    assert "    … 16 more lines" in lines
    assert not any("echo 9" in line for line in lines)
    whole = plain(failure("unit", command="\n".join(["true"] * 10)), run_finished("failed"))
    assert sum("true" in line for line in whole) == 10


def test_colour_only_where_asked_for() -> None:
    events = [
        run_started("unit"),
        *failing("unit", "\x1b[32mgreen"),
        failure("unit", "\x1b[31mred"),
        run_finished("failed"),
    ]
    assert "\x1b" not in "\n".join(plain(*events))
    coloured = "\n".join(plain(*events, colour=True))
    assert "\x1b[32mgreen\x1b[0m" in coloured
    assert "\x1b[31mred\x1b[0m" in coloured
    assert "\x1b[31mfailed\x1b[0m (exit status 2)" in coloured


def test_failures_are_told_when_the_end_of_the_run_never_comes() -> None:
    written: list[str] = []
    view = PlainView(written.append, colour=False)
    view(failure("unit", "boom"))
    view.close()
    assert "  | boom\n" in "".join(written)

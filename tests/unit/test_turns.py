"""Steps of parallel jobs, shown one at a time: nothing is lost but what is said to be, nothing is mixed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_env.events import (
    Event,
    JobFinished,
    JobStarted,
    Note,
    RunFinished,
    StepFinished,
    StepOutput,
    StepStarted,
)
from ci_env.ui import turns
from ci_env.ui.turns import one_at_a_time


def finished(job: str, step: str) -> StepFinished:
    return StepFinished(job, step, "passed", 1, "", None)


def job(name: str, lines: Sequence[int]) -> list[Event]:
    """Return the events of a job whose steps write so many lines; a step that writes -1 is cached."""
    events: list[Event] = [JobStarted(name)]
    for number, count in enumerate(lines):
        step = f"step {number}"
        events += [StepStarted(name, step)] if count >= 0 else []
        events += [StepOutput(name, step, f"{line}") for line in range(count)]
        events.append(finished(name, step))
    return [*events, JobFinished(name, "passed", 1)]


def shown(events: Sequence[Event]) -> list[Event]:
    seen: list[Event] = []
    emit = one_at_a_time(seen.append)
    for event in events:
        emit(event)
    return seen


def test_one_job_is_shown_as_it_goes() -> None:
    events = job("a", [2, -1, 1])
    assert [len(shown(events[: end + 1])) for end in range(len(events))] == list(range(1, len(events) + 1))


def test_others_wait_for_the_open_step_and_then_come_by_waiting_time() -> None:
    a, b, c = StepStarted("a", "1"), StepStarted("b", "1"), StepStarted("c", "1")
    line = StepOutput("c", "1", "x")
    events: list[Event] = [a, c, line, b, finished("b", "1"), Note("info", "n"), finished("a", "1"), finished("c", "1")]
    expected = [a, Note("info", "n"), finished("a", "1"), c, line, finished("c", "1"), b, finished("b", "1")]
    assert shown(events) == expected


@given(
    st.lists(st.lists(st.integers(-1, 3), max_size=3), min_size=1, max_size=4),
    st.lists(st.integers(0, 3), min_size=80, max_size=80),
)
def test_nothing_is_lost_or_mixed(jobs: list[list[int]], order: list[int]) -> None:
    queues = [job(f"job {number}", lines) for number, lines in enumerate(jobs)]
    events: list[Event] = []
    for choice in itertools.cycle(order):
        left = [queue for queue in queues if queue]
        if not left:
            break
        events.append(left[choice % len(left)].pop(0))
    events.append(RunFinished("r", "passed", 1))
    seen = shown(events)
    assert seen[-1] == events[-1]
    for number, lines in enumerate(jobs):
        name = f"job {number}"
        assert [event for event in seen if getattr(event, "job", "") == name] == job(name, lines)
    is_open = ""
    for event in seen[:-1]:
        assert not is_open or getattr(event, "job", "") == is_open
        is_open = event.job if isinstance(event, StepStarted) else "" if isinstance(event, StepFinished) else is_open


def test_what_waits_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MAX_WAITING_LINES", 3)
    seen = shown([StepStarted("a", "1"), *job("b", [5, 2]), finished("a", "1")])
    lines = [event.line for event in seen if isinstance(event, StepOutput)]
    assert lines[:3] == ["0", "1", "2"]
    assert lines[3] == "[2 more lines, which came while another step was shown, are in its log]"

"""A run as events, and terminals that remember: what tests of the views share."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

from ci_env.digest import Digest
from ci_env.events import (
    Emit,
    Event,
    JobFinished,
    JobOutline,
    JobStarted,
    RunFinished,
    RunStarted,
    Status,
    StepFailure,
    StepFinished,
    StepOutput,
    StepStarted,
)

RUN = "20250102-ab12"
STEPS = ("deps", "test", "report")


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and keeps what was written."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def play(emit: Emit, events: Iterable[Event]) -> None:
    for event in events:
        emit(event)


def run_started(*jobs: str) -> RunStarted:
    return RunStarted(RUN, tuple(JobOutline(job, STEPS) for job in jobs))


def finished(job: str, step: str, status: Status, ending: str = "") -> StepFinished:
    return StepFinished(job, step, status, 3_400, ending, Digest.of(b""))


def running(job: str, *lines: str) -> Iterator[Event]:
    """Give a job whose first step was cached and whose second runs."""
    yield JobStarted(job)
    yield finished(job, "deps", "cached")
    yield StepStarted(job, "test")
    for line in lines:
        yield StepOutput(job, "test", line)


def failing(job: str, *lines: str) -> Iterator[Event]:
    """Give a job whose second step fails."""
    yield from running(job, *lines)
    yield finished(job, "test", "failed", "exit status 2")
    yield finished(job, "report", "skipped")
    yield JobFinished(job, "failed", 4_000)


def passing(job: str) -> Iterator[Event]:
    yield from running(job, "all good")
    yield finished(job, "test", "passed")
    yield StepStarted(job, "report")
    yield finished(job, "report", "passed")
    yield JobFinished(job, "passed", 125_000)


def failure(job: str, *tail: str, command: str = "pytest -x") -> StepFailure:
    return StepFailure(job, "test", "exit status 2", command, tail, f"ci-env replay {RUN} --step {job}/test")


def run_finished(status: Status) -> RunFinished:
    return RunFinished(RUN, status, 12_345)

"""Views that write lines: JSON for programs, plain text for logs and pipes. A cached run waits for it: stays light."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from threading import RLock

from ci_env.codec import encode
from ci_env.events import (
    Event,
    JobFinished,
    Note,
    Progress,
    RunFinished,
    RunStarted,
    StepFinished,
    StepOutput,
    StepStarted,
)
from ci_env.ui.board import Board
from ci_env.ui.clean import clean, shorten
from ci_env.ui.durations import duration
from ci_env.ui.outcome import failures, summary
from ci_env.ui.paint import STYLES, paint
from ci_env.ui.sizes import rate, size

_NAME_LETTERS = 60


class JsonView:
    """Writes each event as one line of JSON: `event` names its kind, then come its fields. ASCII only."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._lock = RLock()  # a signal handler may call while its thread is in here

    def __call__(self, event: Event) -> None:
        fields = encode(event)
        assert isinstance(fields, Mapping)
        line = json.dumps({"event": type(event).__name__, **fields}) + "\n"
        with self._lock:
            self._write(line)


class PlainView:
    """Writes what a person reads in a log. Every line of a step's output bears the step's name.

    `write` gets whole lines, one or more. Failures are kept for the end of the run, so that nothing comes after them.
    """

    def __init__(self, write: Callable[[str], object], *, colour: bool) -> None:
        self._write = write
        self._colour = colour
        self._lock = RLock()  # a signal handler may call while its thread is in here
        self._board = Board()
        self._ended = False

    def __call__(self, event: Event) -> None:
        with self._lock:
            lines = list(self._lines(event))
            self._board.apply(event)
            if isinstance(event, RunFinished):
                lines += self._end()
            if lines:
                self._write("".join(f"{line}\n" for line in lines))

    def close(self) -> None:
        """Write what was kept for the end of a run whose end never came."""
        with self._lock:
            lines = [] if self._ended else failures(self._board, colour=self._colour)
            if lines:
                self._write("".join(f"{line}\n" for line in lines))

    def _end(self) -> list[str]:
        self._ended = True
        return [summary(self._board, colour=self._colour), *failures(self._board, colour=self._colour)]

    def _lines(self, event: Event) -> Iterator[str]:
        """Give the lines of one event, seen from the state before it."""
        match event:
            case RunStarted():
                yield f"run {clean(event.run_id)}: {_outline(event)}"
            case StepStarted():
                yield f"{self._name(event.job, event.step)}: started"
            case StepOutput():
                bar = paint(f"{self._name(event.job, event.step)} |", "dim", colour=self._colour)
                yield f"{bar} {clean(event.line, colour=self._colour)}"
            case StepFinished():
                yield f"{self._name(event.job, event.step)}: {self._ending(event)}"
            case JobFinished() if len(self._board.jobs) > 1:
                yield f"{_short(event.job)}: {self._ending(event)}"
            case Progress():
                yield from self._progress(event)
            case Note():
                label = paint("warning:", "warning", colour=self._colour) if event.level == "warning" else "note:"
                yield f"{label} {clean(event.message)}"
            case _:
                pass

    def _name(self, job: str, step: str) -> str:
        """Return the step's name, as short as it still tells the steps apart."""
        if len(self._board.jobs) == 1 and job in self._board.jobs:
            return _short(step)
        return f"{_short(job)}/{_short(step)}"

    def _ending(self, event: StepFinished | JobFinished) -> str:
        word = paint(event.status, STYLES[event.status], colour=self._colour)
        is_telling = isinstance(event, StepFinished) and event.ending not in ("", event.status)
        ending = f" ({clean(event.ending)})" if isinstance(event, StepFinished) and is_telling else ""
        took = f", {duration(event.duration_ms)}" if event.status in ("passed", "failed") else ""
        return word + ending + took

    def _progress(self, event: Progress) -> Iterator[str]:
        """Give a line for the first event of a transfer and one for its last."""
        transfer = self._board.transfers.get(event.what)
        if event.finished:
            speed = "" if transfer is None else self._speed(event.done_bytes, transfer.started_s)
            yield f"{clean(event.what)}: done, {size(event.done_bytes)}{speed}"
        elif transfer is None:
            total = "" if event.total_bytes is None else f", {size(event.total_bytes)}"
            yield f"{clean(event.what)}: started{total}"

    def _speed(self, done_bytes: int, started_s: float) -> str:
        taken_s = self._board.clock() - started_s
        return f" in {duration(int(taken_s * 1000))}" + (f", {rate(done_bytes / taken_s)}" if taken_s >= 1 else "")


def _outline(event: RunStarted) -> str:
    jobs, steps = len(event.jobs), sum(len(job.steps) for job in event.jobs)
    return f"{_number(jobs, 'job')}, {_number(steps, 'step')}"


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _short(name: str) -> str:
    return shorten(clean(name), _NAME_LETTERS)

"""What is known of a run, from its events: the state that views draw. Owns no text and no layout."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from threading import RLock
from typing import assert_never

from ci_env.events import (
    Event,
    JobFinished,
    JobStarted,
    Note,
    Progress,
    RunFinished,
    RunStarted,
    Status,
    StepFailure,
    StepFinished,
    StepOutput,
    StepStarted,
)
from ci_env.ui.paint import State

OUTPUT_LINES = 5
_RATE_WINDOW_S = 3.0


# Plain classes: a dataclass takes a millisecond to make, and a cached run imports this module.
class StepState:
    def __init__(self, name: str) -> None:
        self.name = name
        self.state: State = "waiting"
        self.started_s = 0.0
        self.duration_ms = 0
        self.ending = ""
        self.lines: deque[str] = deque(maxlen=OUTPUT_LINES)
        """last ones of its output, as it wrote them"""


class JobState:
    def __init__(self, name: str) -> None:
        self.name = name
        self.steps: dict[str, StepState] = {}
        self.state: State = "waiting"
        self.started_s = 0.0
        self.duration_ms = 0


class Transfer:
    def __init__(self, what: str, started_s: float) -> None:
        self.what = what
        self.started_s = started_s
        self.done_bytes = 0
        self.total_bytes: int | None = None
        self._samples: deque[tuple[float, int]] = deque()
        """when, and how many bytes by then; those of the last seconds"""

    def move(self, event: Progress, now_s: float) -> None:
        """Take in how far it is."""
        self.done_bytes, self.total_bytes = event.done_bytes, event.total_bytes
        self._samples.append((now_s, event.done_bytes))
        while len(self._samples) > 2 and self._samples[0][0] < now_s - _RATE_WINDOW_S:
            self._samples.popleft()

    def bytes_per_s(self, now_s: float) -> float:
        """Return the rate of the last seconds, which falls while nothing comes."""
        then_s, then_bytes = self._samples[0] if self._samples else (self.started_s, 0)
        return max(0, self.done_bytes - then_bytes) / max(now_s - then_s, 0.001)


class Board:
    """The state of a run. Whoever reads it holds `lock`, unless no event can come any more."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.lock = RLock()  # a signal handler may call while its thread is in here
        self.clock = clock
        self.started_s = clock()
        self.run_id = ""
        self.jobs: dict[str, JobState] = {}
        self.transfers: dict[str, Transfer] = {}
        """those under way"""
        self.transferred_bytes = 0
        """of those that are done"""
        self.failures: list[StepFailure] = []
        self.status: Status | None = None
        """None: the run goes on, or ended without a word"""
        self.duration_ms = 0

    def apply(self, event: Event) -> None:
        """Take in one event; those of jobs and steps that nothing announced, too."""
        with self.lock:
            self._apply(event)

    def counts(self) -> Counter[State]:
        """Count the steps by state."""
        return Counter(step.state for job in self.jobs.values() for step in job.steps.values())

    def job(self, name: str) -> JobState:
        """Return the job, made where it is new."""
        return self.jobs.setdefault(name, JobState(name))

    def step(self, job: str, name: str) -> StepState:
        """Return the step, made where it is new."""
        return self.job(job).steps.setdefault(name, StepState(name))

    def _apply(self, event: Event) -> None:
        match event:
            case RunStarted():
                self.run_id = event.run_id
                for outline in event.jobs:
                    self.job(outline.name).steps = {step: StepState(step) for step in outline.steps}
            case RunFinished():
                self.run_id, self.status, self.duration_ms = event.run_id, event.status, event.duration_ms
            case Progress():
                self._transfer(event)
            case StepFailure():
                self.failures.append(event)
            case Note():
                pass  # said at once, by whoever draws
            case _:
                self._apply_to_job(event)

    def _apply_to_job(self, event: JobStarted | StepStarted | StepOutput | StepFinished | JobFinished) -> None:
        job = self.job(event.job)
        match event:
            case JobStarted():
                self._start(job)
            case StepStarted():
                self._start(job)
                self._start(self.step(event.job, event.step))
            case StepOutput():
                self.step(event.job, event.step).lines.append(event.line)
            case StepFinished():
                step = self.step(event.job, event.step)
                step.state, step.duration_ms, step.ending = event.status, event.duration_ms, event.ending
                step.lines.clear()
            case JobFinished():
                job.state, job.duration_ms = event.status, event.duration_ms
            case _:
                assert_never(event)

    def _start(self, what: JobState | StepState) -> None:
        if what.state == "waiting":
            what.state, what.started_s = "running", self.clock()

    def _transfer(self, event: Progress) -> None:
        transfer = self.transfers.setdefault(event.what, Transfer(event.what, self.clock()))
        transfer.move(event, self.clock())
        if event.finished:
            self.transferred_bytes += event.done_bytes
            del self.transfers[event.what]

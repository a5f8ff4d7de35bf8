"""Events of jobs that run side by side, in an order for views that can show one step at a time, such as a CI log.

One step is shown as it goes; what the others say waits until it has ended. Owns that order, and how much may wait.
"""

from __future__ import annotations

from collections import deque
from threading import Lock

from ci_env.events import Emit, Event, JobFinished, JobStarted, StepFinished, StepOutput, StepStarted

MAX_WAITING_LINES = 10_000
"""of each job; what comes after them is counted and left out"""
_OfAJob = JobStarted | StepStarted | StepOutput | StepFinished | JobFinished


def one_at_a_time(emit: Emit) -> Emit:
    """Return a view that passes every event on to `emit`, from one thread at a time and without mixing steps.

    Between the StepStarted and the StepFinished of a step come only its own lines, and events that belong to no job.
    """
    return _Turns(emit).take


class _Turns:
    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._lock = Lock()
        self._shown: str | None = None
        """the job whose step is being shown"""
        self._waiting: dict[str, _Queue] = {}
        """of each job that has something to say, longest waiting first"""

    def take(self, event: Event) -> None:
        with self._lock:
            if not isinstance(event, _OfAJob):
                self._emit(event)
                return
            self._waiting.setdefault(event.job, _Queue()).put(event)
            if self._shown in (None, event.job):
                self._show()

    def _show(self) -> None:
        """Pass on what may be shown now: the open step's events, then whatever waits until a step is open again."""
        while True:
            job = self._shown or next(iter(self._waiting), None)
            queue = self._waiting.get(job) if job else None
            if job is None or queue is None:
                return
            event = queue.get()
            if not queue:
                del self._waiting[job]
            if isinstance(event, StepStarted):
                self._shown = job
            elif isinstance(event, StepFinished):
                self._shown = None
            self._emit(event)


class _Queue:
    """The events of one job that wait, in order."""

    def __init__(self) -> None:
        self._events: deque[_OfAJob] = deque()
        self._lines = 0
        self._left_out = 0

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: _OfAJob) -> None:
        if isinstance(event, StepOutput):
            if self._lines >= MAX_WAITING_LINES:
                self._left_out += 1
                return
            self._lines += 1
        elif isinstance(event, StepFinished) and self._left_out:
            line = f"[{self._left_out} more lines, which came while another step was shown, are in its log]"
            self._events.append(StepOutput(event.job, event.step, line))
            self._left_out = 0
        self._events.append(event)

    def get(self) -> _OfAJob:
        event = self._events.popleft()
        self._lines -= isinstance(event, StepOutput)
        return event

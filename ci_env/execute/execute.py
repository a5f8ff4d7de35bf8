"""A plan to a record: jobs in the order of their needs, those that do not need each other at the same time.

Nothing that decides a result is read here but the plan. Owns the threads; a job is job.py's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import SimpleQueue

from ci_env.capsule.record import JobRecord, RunStatus
from ci_env.errors import HostError
from ci_env.events import StepFailure
from ci_env.execute import job as jobs
from ci_env.execute.workbench import Workbench
from ci_env.plan.plan import Job

_GOOD = ("passed", "cached")
Keep = Callable[[tuple[JobRecord, ...]], None]


def execute(bench: Workbench, *, parallel: int, keep: Keep) -> tuple[tuple[JobRecord, ...], tuple[StepFailure, ...]]:
    """Run the plan's jobs, at most `parallel` at a time; return their records and failures in the plan's order.

    `keep` is told the records of all jobs that have ended, each time that one has and others have not, and before an
    error is raised, by the thread that called. Once a job was cancelled, those that have not begun are left out. What
    goes wrong with this machine, and not with a step, is raised, once everything that runs has been ended.
    """
    schedule = _Schedule(bench, max(1, parallel), keep)
    try:
        schedule.run()
    except BaseException:
        schedule.end()
        raise
    outcomes = [schedule.done[job.name] for job in bench.furnisher.plan.jobs]
    return tuple(outcome.record for outcome in outcomes), tuple(one for outcome in outcomes for one in outcome.failures)


def run_status(records: Iterable[JobRecord]) -> RunStatus:
    """Return how a run of these jobs ended."""
    found = {record.status for record in records}
    if "cancelled" in found:
        return "cancelled"
    return "failed" if "failed" in found else "passed"


class _Schedule:
    def __init__(self, bench: Workbench, parallel: int, keep: Keep) -> None:
        self._bench = bench
        self._keep = keep
        self._parallel = parallel
        self._waiting = list(bench.furnisher.plan.jobs)
        self._threads: dict[str, threading.Thread] = {}
        self._finished: SimpleQueue[tuple[str, jobs.Outcome | BaseException]] = SimpleQueue()
        self.done: dict[str, jobs.Outcome] = {}

    def run(self) -> None:
        """Start what can start, and wait for what runs, until nothing is left."""
        while self._waiting or self._threads:
            self._start_ready()
            if self._threads:
                self._await_one()
            if self._waiting or self._threads:
                self._keep(self._records())

    def end(self) -> None:
        """End what still runs, after an error, and keep what has ended by then."""
        if self._threads:
            self._bench.runner.cancel(now=True)
            for thread in self._threads.values():
                thread.join()
        while not self._finished.empty():
            name, outcome = self._finished.get()
            if not isinstance(outcome, BaseException):
                self.done[name] = outcome
        with suppress(HostError):  # the first error is the one to tell
            self._keep(self._records())

    def _records(self) -> tuple[JobRecord, ...]:
        """Return the records of the jobs that have ended, in the plan's order."""
        names = (job.name for job in self._bench.furnisher.plan.jobs)
        return tuple(self.done[name].record for name in names if name in self.done)

    def _start_ready(self) -> None:
        for job in tuple(self._waiting):
            is_over = any(outcome.record.status == "cancelled" for outcome in self.done.values())
            if not is_over and any(name not in self.done for name in job.needs):
                continue
            if is_over or any(self.done[name].record.status not in _GOOD for name in job.needs):
                self.done[job.name] = jobs.skip(self._bench, job)
            elif self._is_alone(job):
                self.done[job.name] = self._run(job)
            elif len(self._threads) < self._parallel:
                self._start(job)
            else:
                continue
            self._waiting.remove(job)

    def _is_alone(self, job: Job) -> bool:
        """Tell whether no other job could run meanwhile: then it needs no thread, which a cached run would notice."""
        return self._parallel == 1 or (self._waiting == [job] and not self._threads)

    def _run(self, job: Job) -> jobs.Outcome:
        return jobs.run(self._bench, job, dict(self.done))

    def _start(self, job: Job) -> None:
        def work() -> None:
            try:
                self._finished.put((job.name, self._run(job)))
            except BaseException as error:  # raised again by the thread that waits
                self._finished.put((job.name, error))

        thread = threading.Thread(target=work, name=job.name)
        self._threads[job.name] = thread
        thread.start()

    def _await_one(self) -> None:
        name, outcome = self._finished.get()
        self._threads.pop(name).join()
        if isinstance(outcome, BaseException):
            raise outcome
        self.done[name] = outcome

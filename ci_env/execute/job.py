"""One job: its steps in order, each on what the one before has left. Owns the rules of `when` and the job's timeout."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ci_env.capsule.record import JobRecord, StepRecord
from ci_env.digest import Digest, key
from ci_env.events import JobFinished, JobStarted, Status, StepFailure
from ci_env.execute import step as steps
from ci_env.execute.snapshot import Snapshot
from ci_env.execute.workbench import Workbench
from ci_env.frozen import dataclass
from ci_env.plan.chain import is_on_chain, source_beneath
from ci_env.plan.plan import Job, SourceLayer, Step

if TYPE_CHECKING:
    from ci_env.execute.services import Services


@dataclass(frozen=True, slots=True)
class Outcome:
    record: JobRecord
    failures: tuple[StepFailure, ...]
    snapshot: Snapshot
    """what it has left"""


def skip(bench: Workbench, job: Job) -> Outcome:
    """Leave a job out, as one that it needs has not passed, or the run has been cancelled."""
    bench.emit(JobFinished(job.name, "skipped", 0))
    records = tuple(
        StepRecord(step.name, step.key, "skipped", None, None, None, 0, (), None, None, None, None)
        for step in job.steps
    )
    return Outcome(JobRecord(job.name, "skipped", 0, records), (), Snapshot(()))


def run(bench: Workbench, job: Job, before: Mapping[str, Outcome]) -> Outcome:
    """Run a job whose needs have passed; `before` are the outcomes of the jobs before it."""
    bench.emit(JobStarted(job.name))
    began = time.monotonic()
    deadline = None if job.timeout_s is None else bench.runner.clock() + job.timeout_s
    with ExitStack() as until_end:
        progress = _Progress(bench, job, _start(bench, job, before), before, deadline, until_end)
        for index in range(len(job.steps)):
            progress.advance(index)
    services = () if progress.services is None else progress.services.keep(bench.blobs)
    status = progress.status()
    duration_ms = round((time.monotonic() - began) * 1000)
    bench.emit(JobFinished(job.name, status, duration_ms))
    record = JobRecord(job.name, status, duration_ms, tuple(progress.records), services)
    return Outcome(record, tuple(progress.failures), progress.snapshot)


class _Progress:
    """Where a job has got to."""

    def __init__(
        self,
        bench: Workbench,
        job: Job,
        snapshot: Snapshot,
        before: Mapping[str, Outcome],
        deadline: float | None,
        until_end: ExitStack,
    ) -> None:
        self._bench = bench
        self._job = job
        self._before = before
        self.snapshot = snapshot
        self._deadline = deadline
        self._until_end = until_end
        """ends the job's services"""
        self.services: Services | None = None
        """None: no step has needed them"""
        self._is_caching = bench.is_caching and (not job.services or _finds_all(bench, job, snapshot))
        self._laid: Digest | None = None
        """the source layer laid last"""
        self.records: list[StepRecord] = []
        self.failures: list[StepFailure] = []

    def advance(self, index: int) -> None:
        """Do, find or skip the next step."""
        step = self._job.steps[index]
        status = self.status()
        wanted = {"on_success": status in ("passed", "cached"), "always": True, "on_failure": status == "failed"}
        if status == "cancelled" or not wanted[step.when]:
            self._note(steps.skip(self._bench, self._job, step, self.snapshot))
            return
        self._lay_source(index)
        is_sound = status in ("passed", "cached") and is_on_chain(step.when)
        done = steps.find(self._bench, self._job, step, self.snapshot) if is_sound and self._is_caching else None
        if done is None:
            services = self._serve(step)
            timeout_s = self._timeout(step.timeout_s)
            origin = functools.partial(self._origin, step)
            done = steps.run(
                self._bench,
                self._job,
                step,
                self.snapshot,
                origin,
                timeout_s=timeout_s,
                keep=is_sound,
                services=services,
            )
        self._note(done)

    def _serve(self, step: Step) -> Services | None:
        """Have the job's services, if it has any, from the first step on that really runs."""
        if self._job.services and self.services is None:
            from ci_env.execute.services import Services

            bench = self._bench
            made = Services(self._job, step, bench.runner, bench.furnisher, bench.emit)
            self.services = self._until_end.enter_context(made)
            self.services.start(timeout_s=self._timeout(None))
        elif self.services is not None:
            self.services.check()
        return self.services

    def status(self) -> Status:
        """Return how the job stands: failed once a step has, cached as long as every step was."""
        found = {record.status for record in self.records}
        if "cancelled" in found:
            return "cancelled"
        if "failed" in found:
            return "failed"
        return "cached" if found and "passed" not in found and "cached" in found else "passed"

    def _note(self, done: steps.Done) -> None:
        self.records.append(done.record)
        self.snapshot = done.snapshot
        if done.failure:
            self.failures.append(done.failure)

    def _lay_source(self, index: int) -> None:
        """Lay the source that the step expects: its own, or one that a skipped step would have laid."""
        source = _source_to_lay(self._job, index, self._laid)
        if source is not None:
            self.snapshot = self.snapshot.on_top(source.layer, lambda: self._bench.have_source(source))
            self._laid = source.layer

    def _origin(self, step: Step) -> tuple[Digest, ...]:
        """Return the layers that a step copies from, made if they are not there."""
        copy = step.copy
        if copy is None:
            return ()
        if copy.context is not None:
            self._bench.have_source(copy.context)
            return (copy.context.layer,)
        return copy.layers if copy.job is None else self._before[copy.job].snapshot.make().layers

    def _timeout(self, timeout_s: int | None) -> int | None:
        """Return the seconds that the step has, by its own limit and by what is left of the job's."""
        if self._deadline is None:
            return timeout_s
        left = max(round(self._deadline - self._bench.runner.clock()), 1)
        return left if timeout_s is None else min(left, timeout_s)


def _source_to_lay(job: Job, index: int, laid: Digest | None) -> SourceLayer | None:
    """Return the source that is to be laid before a step, where `laid` was the last one; None: nothing is."""
    source = source_beneath(job, index)
    return source if source is not None and (job.steps[index].source is not None or source.layer != laid) else None


def _finds_all(bench: Workbench, job: Job, snapshot: Snapshot) -> bool:
    """Tell whether no step of a job has to run.

    What a step has done to a service is in no layer: where a later one has to run, it has to do that again.
    """
    laid: Digest | None = None
    for index, step in enumerate(job.steps):
        if not is_on_chain(step.when):
            continue
        source = _source_to_lay(job, index, laid)
        if source is not None:
            snapshot, laid = snapshot.on_top(source.layer), source.layer
        result = steps.look(bench, step, snapshot)
        if result is None:
            return False
        snapshot = snapshot.on_top(result.layer)
    return True


def _start(bench: Workbench, job: Job, before: Mapping[str, Outcome]) -> Snapshot:
    """Return the image, or what the job's base has left, with the artifacts of needed jobs on top, as in `takes`."""
    snapshot = Snapshot(job.image.layers) if job.base is None else before[job.base].snapshot
    for name in job.takes:
        for record in before[name].record.steps:
            if record.artifacts is not None:
                snapshot = _take(bench, snapshot, record.artifacts)
    return snapshot


def _take(bench: Workbench, snapshot: Snapshot, artifacts: Digest) -> Snapshot:
    parents = snapshot.layers
    layer = key("artifacts", {"parents": list(parents), "tar": artifacts})

    def make() -> None:
        if not bench.layers.has(layer):
            bench.layers.unpack(layer, parents, artifacts, lambda: bench.blobs.open(artifacts))

    return snapshot.on_top(layer, make)

"""A compiled plan to a recorded run. Owns what is written when: the record before the first step, and at the end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from ci_env.capsule.machine import User, describe
from ci_env.capsule.record import RECORD_VERSION, Host, JobRecord, Record, RunStatus
from ci_env.cli.interrupt import Interruption
from ci_env.cli.kept import ON_FAILURE, CapsuleWish, kept_capsule
from ci_env.cli.opened import Opened
from ci_env.digest import Digest
from ci_env.errors import HostError, Interrupted
from ci_env.events import Emit, JobOutline, Note, RunFinished, RunStarted, Status, StepFailure
from ci_env.execute.execute import execute, run_status
from ci_env.execute.sandbox import Furnisher
from ci_env.execute.secrets import NO_SECRETS, Secrets
from ci_env.execute.workbench import Workbench
from ci_env.frozen import dataclass, replace
from ci_env.plan.plan import Plan, SourceLayer
from ci_env.ports import Machine, Runner
from ci_env.store.caches import Caches
from ci_env.store.runs import Runs
from ci_env.store.steps import Steps

if TYPE_CHECKING:
    from ci_env.execute.running import RunningStep
    from ci_env.live.door import Door
    from ci_env.store.home import Store


@dataclass(frozen=True, slots=True)
class Work:
    """A plan, and what its execution needs to know beside it."""

    plan: Plan
    file: str
    """the path, in the source, of the file that the plan was made of"""
    project: Digest
    have_source: Callable[[SourceLayer], None]
    """makes sure that a layer of the source is in the store"""
    secrets: Secrets = NO_SECRETS


def run_recorded(
    work: Work,
    opened: Opened,
    emit: Emit,
    interruption: Interruption,
    *,
    context: Mapping[str, str],
    parallel: int,
    is_caching: bool,
    capsule: CapsuleWish = ON_FAILURE,
    apart: Store | None = None,
    machine: Machine | None = None,
) -> Record:
    """Execute the plan and record it; tell everything to `emit`. `context` is what a CI service says of the run.

    With `apart`, that has the results of steps and the caches, and no other run will see them. `machine` is what steps
    are to find in place of this one.
    """
    began = time.monotonic()
    caches = opened.caches if apart is None else Caches(apart, opened.uses)
    now, fraction = divmod(time.time_ns(), 10**9)
    started_at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    runs = Runs(opened.store, Record, version=RECORD_VERSION)
    with runs.create(f"{started_at}.{fraction:09}Z") as directory:
        record = _begin(work, opened, directory.id, f"{started_at}Z", context)
        runs.write(record)
        emit(RunStarted(record.run_id, tuple(_outline(work.plan))))
        doorway = _Doorway(directory.path, opened.runner, interruption, emit)
        bench = Workbench(
            run_id=record.run_id,
            runner=opened.runner,
            layers=opened.layers,
            furnisher=Furnisher(work.plan, opened.layers, caches, work.secrets, machine),
            blobs=opened.blobs,
            steps=Steps(apart or opened.store),
            project=work.project,
            have_source=work.have_source,
            emit=emit,
            is_caching=is_caching,
            begin=doorway.begin,
        )

        def keep(jobs: tuple[JobRecord, ...]) -> None:
            """Write what is known by now, so that a failure can be replayed whatever happens to the rest of the run."""
            nonlocal record
            record = replace(record, jobs=jobs, duration_ms=_since(began))
            if _has_run(jobs):
                runs.write(record)

        with interruption.during(opened.runner), doorway:
            try:
                jobs, failures = execute(bench, parallel=parallel, keep=keep)
                keep(jobs)
                host = _host(opened, has_run=_has_run(jobs))
                opened.layers.seal()
                record = replace(record, status=run_status(jobs), duration_ms=_since(began), host=host)
                runs.write(record)
            except BaseException as error:
                status: RunStatus = "cancelled" if isinstance(error, Interrupted) else "error"
                with suppress(HostError):  # what went wrong first is what matters; on a full disk this fails, too
                    opened.layers.seal()
                with suppress(HostError):
                    runs.write(replace(record, status=status, duration_ms=_since(began)))
                raise
        file = kept_capsule(record, opened, capsule, emit, work.secrets.values())
    for failure in _with_commands(failures, record.run_id):
        emit(replace(failure, capsule=file))
    emit(RunFinished(record.run_id, _shown(record), record.duration_ms))
    return record


class _Doorway(ExitStack):
    """Where the run's door is, once a step has begun to run: others look at the run then, or stop it (ci_env.live)."""

    def __init__(self, directory: Path, runner: Runner, interruption: Interruption, emit: Emit) -> None:
        super().__init__()
        self._directory = directory
        self._runner = runner
        self._interruption = interruption
        self._emit = emit
        self._lock = Lock()
        self._door: Door | None = None

    def begin(self, job: str, step: str, log: Path) -> RunningStep:
        """Note that a step begins. The first one has the door opened."""
        from ci_env.execute.running import RunningStep

        running = RunningStep(job, step, log)
        with self._lock:
            if self._door is None:
                self._door = self._open()
            self._door.begin(running)
        return running

    def _open(self) -> Door:
        from ci_env.live.door import Door, open_door

        asked = self._interruption
        door = Door(self._runner, asked.ask, lambda: asked.is_ending, self._emit)
        try:
            self.enter_context(open_door(self._directory, door))
        except OSError as error:
            reason = f"{error.strerror} (a socket in {self._directory})"
            self._emit(Note("warning", f"`ci-env ps`, `exec`, `pause` and `stop` cannot reach this run: {reason}"))
        return door


def _with_commands(failures: tuple[StepFailure, ...], run_id: str) -> Iterator[StepFailure]:
    """Add to each failure what to type to replay it: by this program's path where the shell would not find its name."""
    import shlex
    import shutil

    program = "ci-env" if shutil.which("ci-env") else sys.argv[0]
    for index, failure in enumerate(failures):
        step = ("--step", f"{failure.job}/{failure.step}") if index else ()  # a replay begins with the first
        yield replace(failure, replay=shlex.join((program, "replay", run_id, *step)))


def _begin(work: Work, opened: Opened, run_id: str, started_at: str, context: Mapping[str, str]) -> Record:
    return Record(
        version=work.plan.version,
        run_id=run_id,
        status="running",
        started_at=started_at,
        duration_ms=0,
        file=work.file,
        host=_host(opened, has_run=False),
        ci={name: work.secrets.hidden_in(value) for name, value in context.items()},
        plan=work.plan,
        jobs=(),
    )


def _host(opened: Opened, *, has_run: bool) -> Host:
    """Return this machine; with the measures in force only where a step has run, since asking for them costs."""
    if os.geteuid() == 0:
        user: User = "root"
    else:
        user = "rootless" if not has_run or opened.runner.is_owner_mapped() else "rootless-single-id"
    return describe(opened.store.root, user=user, measures=opened.runner.measures() if has_run else ())


def _has_run(jobs: tuple[JobRecord, ...]) -> bool:
    return any(step.ended is not None for job in jobs for step in job.steps)


def _outline(plan: Plan) -> list[JobOutline]:
    return [JobOutline(job.name, tuple(step.name for step in job.steps)) for job in plan.jobs]


def _shown(record: Record) -> Status:
    if record.status != "passed":
        return "cancelled" if record.status == "cancelled" else "failed"
    return "cached" if all(job.status == "cached" for job in record.jobs) else "passed"


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)

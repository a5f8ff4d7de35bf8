"""What the file says to what is to be done: matrices to legs, `env` merged, expressions replaced, jobs in order.

Pure. Works on what schema.py has accepted, and checks what can be judged only once the expressions are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from ci_env.frozen import dataclass
from ci_env.pipeline import checks, model
from ci_env.pipeline.matrix import check_matrix, combinations, leg_name
from ci_env.pipeline.needs import CycleError, in_order
from ci_env.pipeline.positions import KeyPath, Positions, Problems, shown
from ci_env.pipeline.reading import CheckReference, Wrong, first_twice, read, read_each, read_image, with_env
from ci_env.pipeline.schema import File, Job, Limits, Step
from ci_env.pipeline.secrets import expand_secrets
from ci_env.pipeline.services import check_network, expand_services
from ci_env.pipeline.substitute import Scope
from ci_env.pipeline.suggest import did_you_mean

MAX_STEPS = 10_000
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Work:
    """What the expansion of every job needs."""

    file: File
    positions: Positions
    problems: Problems
    legs: Mapping[str, tuple[str, ...]]
    """names of the legs of each job"""
    check_reference: CheckReference


def expand(file: File, positions: Positions, check_reference: CheckReference) -> model.Pipeline:
    """Return the pipeline that `file` describes. ConfigError with all that is wrong with it."""
    problems = Problems(positions)
    order = _order(file, problems)
    legs = {name: _leg_names(name, job, problems) for name, job in file.jobs.items()}
    if sum(len(legs[name]) * len(job.steps) for name, job in file.jobs.items()) > MAX_STEPS:
        problems.at_key(("jobs",), f"more than {MAX_STEPS} steps in all, matrices expanded")
        problems.raise_any()
    work = _Work(file, positions, problems, legs, check_reference)
    jobs = [leg for name in order for leg in _expand_job(name, file.jobs[name], work)]
    problems.raise_any()
    return model.Pipeline(tuple(jobs))


def _order(file: File, problems: Problems) -> Sequence[str]:
    """Return the names of the jobs, each after those it needs; in the file's order where that cannot be."""
    for name, job in file.jobs.items():
        for index, needed in enumerate(job.needs):
            path = ("jobs", name, "needs", index)
            if needed not in file.jobs:
                problems.at_value(path, f"there is no job {shown(needed)}{did_you_mean(needed, file.jobs)}")
    needs = {name: [needed for needed in job.needs if needed in file.jobs] for name, job in file.jobs.items()}
    try:
        return in_order(needs)
    except CycleError as error:
        problems.at_key(("jobs", error.cycle[0], "needs"), f"jobs wait for each other: {error}")
        return list(file.jobs)


def _leg_names(name: str, job: Job, problems: Problems) -> tuple[str, ...]:
    """Return the names of a job's legs; none where its matrix is wrong."""
    path = ("jobs", name, "matrix")
    if not check_matrix(job.matrix, path, problems):
        return ()
    names = [leg_name(name, combination) for combination in combinations(job.matrix)]
    if len(set(names)) < len(names):
        problems.at_key(path, f"two combinations would have the same name, such as {shown(first_twice(names))}")
    return tuple(names)


def _expand_job(name: str, job: Job, work: _Work) -> list[model.Job]:
    """Return the legs of a job, but for those that are impossible, of which the problems are noted."""
    legs: list[model.Job] = []
    for leg, combination in zip(work.legs[name], combinations(job.matrix), strict=False):
        try:
            legs.append(_expand_leg(leg, name, combination, work))
        except Wrong as wrong:
            work.problems.at_value(wrong.path, wrong.message, part=wrong.part)
    return legs


def _expand_leg(leg: str, name: str, combination: Mapping[str, str], work: _Work) -> model.Job:
    job, path = work.file.jobs[name], ("jobs", name)
    file_scope = with_env(Scope(combination, {}, name), work.file.env, ("env",))
    scope = with_env(file_scope, job.env, (*path, "env"))
    steps = [_expand_step(step, (*path, "steps", index), scope, work) for index, step in enumerate(job.steps)]
    known = [step for step in steps if step]
    _check_names(known, (*path, "steps"), work)
    return model.Job(
        name=leg,
        group=name,
        image=_image(name, job, scope, work),
        needs=tuple(needed for group in dict.fromkeys(job.needs) for needed in work.legs.get(group, ())),
        timeout_s=job.limits.timeout,
        steps=tuple(known),
        at=work.positions.show(work.positions.of_key(path)),
        limits=_limits(job.limits),
        secrets=expand_secrets(job, path, known, work.problems),
        services=_services(job, (*path, "services"), Scope(combination, {}, name), known, work),
    )


def _services(
    job: Job, path: KeyPath, scope: Scope, steps: Sequence[model.Step], work: _Work
) -> tuple[model.Service, ...]:
    if job.services:
        check_network(steps, path[:-1], work.problems)
    return expand_services(job.services, path, scope, work.check_reference, work.positions)


def _limits(limits: Limits) -> model.Limits:
    return model.Limits(
        cpus_milli=None if limits.cpus is None else round(limits.cpus * 1000),
        memory_bytes=limits.memory,
        pids=limits.pids,
        disk_bytes=limits.disk,
        open_files=limits.open_files,
    )


def _image(name: str, job: Job, scope: Scope, work: _Work) -> str:
    if job.image is not None:
        return read_image(("jobs", name, "image"), job.image, scope, work.check_reference)
    if work.file.image is not None:
        return read_image(("image",), work.file.image, scope, work.check_reference)
    work.problems.at_key(("jobs", name), "no image; name one here, or for all jobs at the top of the file")
    return ""


def _expand_step(step: Step, path: KeyPath, scope: Scope, work: _Work) -> model.Step | None:
    """Return the step; None where it is impossible, with the problem noted."""
    try:
        inner = with_env(scope, step.env, (*path, "env"))
        return _build_step(step, path, inner, work.positions)
    except Wrong as wrong:
        work.problems.at_value(wrong.path, wrong.message, part=wrong.part)
        return None


def _build_step(step: Step, path: KeyPath, scope: Scope, positions: Positions) -> model.Step:
    if step.allow and step.network != "nat":
        raise Wrong((*path, "allow"), "says what `network: nat` lets through, which this step does not have")

    def one(key: str, text: str, check: Callable[[str], T]) -> T:
        return read((*path, key), text, scope, check)

    def each(keys: KeyPath, texts: Sequence[str], check: Callable[[str], str]) -> tuple[str, ...]:
        return read_each((*path, *keys), texts, scope, check)

    return model.Step(
        name=one("name", _default_name(path) if step.name is None else step.name, checks.step_name),
        run=one("run", step.run, checks.script),
        shell=one("shell", step.shell, checks.shell),
        workdir=one("workdir", step.workdir, checks.workdir),
        user=None if step.user is None else one("user", step.user, checks.user),
        env=scope.env,
        network=step.network,
        inputs=None if step.inputs is None else each(("inputs",), step.inputs, checks.pattern),
        caches=each(("caches",), step.caches, checks.cache),
        timeout_s=step.timeout,
        when=step.when,
        artifacts=each(("artifacts",), step.artifacts, checks.pattern),
        junit=each(("reports", "junit"), step.reports.junit, checks.pattern),
        at=positions.show(positions.of_value(path)),
        allow=each(("allow",), step.allow, checks.allowed),
    )


def _default_name(path: KeyPath) -> str:
    index = path[-1]
    assert isinstance(index, int), "steps are a list"
    return f"step {index + 1}"


def _check_names(steps: Sequence[model.Step], path: KeyPath, work: _Work) -> None:
    names = [step.name for step in steps]
    if len(set(names)) < len(names):
        message = f"two steps are called {shown(first_twice(names))}; the names in a job must differ"
        work.problems.at_key(path, message)

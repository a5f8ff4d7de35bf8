"""Pipeline and Inputs to Plan. Pure: equal arguments give an equal plan, on any machine at any time.

Imports little: a fully cached run pays for this module.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence

from ci_env.digest import Digest, Json
from ci_env.errors import ConfigError
from ci_env.frozen import dataclass, replace
from ci_env.pipeline import model
from ci_env.plan import keys
from ci_env.plan.chain import is_on_chain, leaves_artifacts
from ci_env.plan.inputs import Inputs, ResolvedImage
from ci_env.plan.plan import HOSTNAME, PATH, PLAN_VERSION, ROOT, UMASK, WORKSPACE, Cache, Job, Plan, SourceLayer, Step
from ci_env.plan.services import compile_service

_NOT_YET = Digest("")


@dataclass(frozen=True, slots=True)
class _Start:
    """What the steps of one job have in common."""

    inputs: Inputs
    image: ResolvedImage
    preimage: Mapping[str, Json]
    key: Digest


@dataclass(frozen=True, slots=True)
class _Chain:
    """Where a job has got to: the key of the last step on its chain, and the source layer that this step saw."""

    parent: Digest
    source: Digest | None


def compile_plan(pipeline: model.Pipeline, inputs: Inputs, jobs: Sequence[str]) -> Plan:
    """Return the plan of the `jobs` that were asked for (`choose_jobs`)."""
    compiled: dict[str, Job] = {}
    for job in choose_jobs(pipeline, jobs):
        compiled[job.name] = _compile_job(job, inputs, compiled)
    return Plan(version=PLAN_VERSION, source=inputs.source, hostname=HOSTNAME, jobs=tuple(compiled.values()))


def choose_jobs(pipeline: model.Pipeline, names: Sequence[str]) -> tuple[model.Job, ...]:
    """Return the jobs called `names`, and all that they need, in the pipeline's order; without names, every job.

    The name of a job chooses all legs of its matrix, the name of a leg that one. ConfigError for any other name.
    """
    if not names:
        return pipeline.jobs
    for name in names:
        if not any(name in (job.name, job.group) for job in pipeline.jobs):
            raise _unknown(name, pipeline)
    wanted: set[str] = set()
    for job in reversed(pipeline.jobs):  # each after those it needs, so one walk from the end finds them all
        if job.name in names or job.group in names or job.name in wanted:
            wanted.update((job.name, *job.needs))
    return tuple(job for job in pipeline.jobs if job.name in wanted)


def named_images(jobs: Iterable[model.Job]) -> Mapping[str, str]:
    """Return the images of jobs and their services; each with the first place of the file that names it."""
    places: dict[str, str] = {}
    for job in jobs:
        places.setdefault(job.image, job.at)
        for service in job.services:
            places.setdefault(service.image, service.at)
    return places


def _unknown(name: str, pipeline: model.Pipeline) -> ConfigError:
    from ci_env.pipeline.positions import shown
    from ci_env.pipeline.suggest import did_you_mean

    known = dict.fromkeys(known for job in pipeline.jobs for known in (job.group, job.name))
    groups = ", ".join(dict.fromkeys(job.group for job in pipeline.jobs))
    return ConfigError(f"there is no job {shown(name)}{did_you_mean(name, known)}", hint=f"jobs of this file: {groups}")


def _compile_job(job: model.Job, inputs: Inputs, compiled: Mapping[str, Job]) -> Job:
    image = inputs.images[job.image]
    takes = tuple(name for name in job.needs if leaves_artifacts(compiled[name]))
    services = tuple(compile_service(one, inputs.images[one.image], job.limits) for one in job.services)
    preimage = keys.start_preimage(image.image, keys.taken_keys(takes, compiled), services)
    start = _Start(inputs, image, preimage, keys.start_key(preimage))
    return Job(
        name=job.name,
        group=job.group,
        needs=job.needs,
        takes=takes,
        image=image.image,
        start=start.key,
        timeout_s=job.timeout_s,
        steps=tuple(_compile_steps(job, start)),
        services=services,
    )


def _compile_steps(job: model.Job, start: _Start) -> Iterable[Step]:
    chain = _Chain(start.key, None)
    for step in job.steps:
        compiled = _compile_step(job, step, chain, start)
        if is_on_chain(step.when):
            chain = _Chain(compiled.key, start.inputs.selections[step.inputs])
        yield compiled


def _compile_step(job: model.Job, step: model.Step, chain: _Chain, start: _Start) -> Step:
    layer = start.inputs.selections[step.inputs]
    compiled = Step(
        name=step.name,
        key=_NOT_YET,
        parent=chain.parent,
        source=None if layer == chain.source else SourceLayer(layer, step.inputs),
        argv=(*step.shell, "-c", step.run),
        env=_env(step, start),
        user=step.user or start.image.user or ROOT,
        workdir=posixpath.normpath(posixpath.join(WORKSPACE, step.workdir)),
        umask=UMASK,
        network=step.network,
        caches=_caches(step, start),
        timeout_s=step.timeout_s,
        when=step.when,
        artifacts=step.artifacts,
        junit=step.junit,
        limits=job.limits,
        allow=step.allow,
        secrets=job.secrets,
    )
    first = start.preimage if chain.parent == start.key else None
    return replace(compiled, key=keys.step_key(keys.step_preimage(compiled, start=first, hostname=HOSTNAME)))


def _env(step: model.Step, start: _Start) -> Mapping[str, str]:
    """Return all variables but HOME, which depends on the image's /etc/passwd. The file overrules the image."""
    defaults = {
        "CI": "true",
        "LANG": "C.UTF-8",
        "PATH": PATH,
        "SOURCE_DATE_EPOCH": str(start.inputs.source.epoch_for(step.inputs)),
        "TZ": "UTC",
    }
    return dict(sorted({**defaults, **start.image.env, **step.env}.items()))


def _caches(step: model.Step, start: _Start) -> tuple[Cache, ...]:
    """Return the caches in an order in which each can be mounted: one inside another comes after it."""
    project, platform = start.inputs.project, start.image.image.platform
    return tuple(Cache(keys.cache(project, target, platform=platform), target) for target in sorted(step.caches))

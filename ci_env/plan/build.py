"""Stages of a Dockerfile, whose base is known, to jobs of a plan. Pure, as compile.py is for pipelines.

A stage is a job; each of its operations is a step, which leaves a layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ci_env.digest import Digest
from ci_env.dockerfile import model
from ci_env.frozen import dataclass, replace
from ci_env.oci.order import NewFile
from ci_env.pipeline.model import Network
from ci_env.plan import keys
from ci_env.plan.chain import last_key
from ci_env.plan.plan import (
    HOSTNAME,
    PATH,
    PLAN_VERSION,
    UMASK,
    Cache,
    Copy,
    Image,
    Job,
    Plan,
    Source,
    SourceLayer,
    Step,
)

_NO_USER = "0"
_NOT_YET = Digest("")
_MAX_NAME = 72
_NETWORKS: Mapping[str, Network] = {"none": "none", "host": "host"}


@dataclass(frozen=True, slots=True)
class Origin:
    """What a COPY copies from: exactly one of these, or none of them where it only makes files."""

    context: SourceLayer | None = None
    job: str | None = None
    image: Image | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    """of its job"""
    image: Image
    """what it stands on in the end, be it by way of `base`"""
    base: str | None
    """the job of an earlier stage that it begins with"""
    operations: tuple[tuple[model.Operation, Origin], ...]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all steps of a build have in common."""

    project: Digest
    """identity of what may share caches with itself only"""
    network: Network
    """of a RUN that says nothing about it"""


def compile_build(stages: tuple[Stage, ...], source: Source, around: Surroundings) -> Plan:
    """Return the plan of `stages`, each after those that it uses."""
    compiled: dict[str, Job] = {}
    for stage in stages:
        compiled[stage.name] = _compile_stage(stage, compiled, around)
    return Plan(version=PLAN_VERSION, source=source, hostname=HOSTNAME, jobs=tuple(compiled.values()))


def _compile_stage(stage: Stage, compiled: Mapping[str, Job], around: Surroundings) -> Job:
    preimage = keys.start_preimage(stage.image, ())
    start = keys.start_key(preimage) if stage.base is None else last_key(compiled[stage.base])
    steps: list[Step] = []
    for name, (operation, origin) in zip(_names(stage), stage.operations, strict=True):
        parent = steps[-1].key if steps else start
        if isinstance(operation, model.Run):
            step = _run(name, parent, operation, stage.image.platform, around)
        else:
            step = _copy(name, parent, operation, origin, compiled)
        first = preimage if not steps and stage.base is None else None
        steps.append(replace(step, key=keys.step_key(keys.step_preimage(step, start=first, hostname=HOSTNAME))))
    used = (stage.base, *(origin.job for _, origin in stage.operations))
    return Job(
        name=stage.name,
        group=stage.name,
        needs=tuple(dict.fromkeys(name for name in used if name is not None)),
        takes=(),
        image=stage.image,
        start=start,
        timeout_s=None,
        steps=tuple(steps),
        base=stage.base,
    )


def _names(stage: Stage) -> Iterator[str]:
    """Yield a name for each step, which no other one of its stage has: the instruction, shortened and numbered."""
    numbers: dict[str, int] = {}
    used: set[str] = set()
    for operation, _ in stage.operations:
        title = operation.title if len(operation.title) <= _MAX_NAME else f"{operation.title[: _MAX_NAME - 3]}..."
        name, number = title, numbers.get(title, 1)
        while name in used:
            number += 1
            name = f"{title} ({number})"
        numbers[title] = number
        used.add(name)
        yield name


def _run(name: str, parent: Digest, run: model.Run, platform: str, around: Surroundings) -> Step:
    caches = (Cache(keys.cache(around.project, target, platform=platform), target) for target in sorted(run.caches))
    return replace(
        _step(name, parent),
        argv=run.argv,
        env=dict(sorted({"PATH": PATH, **run.env}.items())),
        user=run.user or _NO_USER,
        workdir=run.workdir,
        network=_NETWORKS[run.network] if run.network is not None else around.network,
        caches=tuple(caches),
    )


def _copy(name: str, parent: Digest, copy: model.Copy, origin: Origin, compiled: Mapping[str, Job]) -> Step:
    return replace(
        _step(name, parent),
        argv=(copy.title,),
        copy=Copy(
            origin=_identity(origin, compiled),
            context=origin.context,
            job=origin.job,
            layers=origin.image.layers if origin.image else (),
            sources=copy.sources,
            files=tuple(NewFile(file, text) for file, text in copy.heredocs),
            destination=copy.destination,
            chown=copy.chown,
            chmod=copy.chmod,
            is_unpacking=copy.is_unpacking,
        ),
    )


def _identity(origin: Origin, compiled: Mapping[str, Job]) -> Digest | None:
    if origin.context is not None:
        return origin.context.layer
    if origin.job is not None:
        return last_key(compiled[origin.job])
    return origin.image.layers[-1] if origin.image is not None and origin.image.layers else None


def _step(name: str, parent: Digest) -> Step:
    return Step(
        name=name,
        key=_NOT_YET,
        parent=parent,
        source=None,
        argv=(),
        env={},
        user=_NO_USER,
        workdir="/",
        umask=UMASK,
        network="none",
        caches=(),
        timeout_s=None,
        when="on_success",
        artifacts=(),
        junit=(),
    )

"""Which layers and blobs of a run a capsule is to hold, and what each layer lies on. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ci_env.capsule.form import ContentKind
from ci_env.capsule.left import origin_of
from ci_env.capsule.record import JobRecord, Record
from ci_env.digest import Digest
from ci_env.frozen import dataclass
from ci_env.plan.plan import Image, Job, Plan


@dataclass(frozen=True, slots=True)
class Stacked:
    """A layer, and the layers that it lies on."""

    layer: Digest
    below: tuple[Digest, ...]
    """bottom first; empty for a layer of the source, which is the same on all"""
    is_source: bool


def stacked_layers(record: Record) -> tuple[Stacked, ...]:
    """Return the layers that a replay of the run needs, each after those below it.

    Of a run with failures: of each job that has one, what its steps saw, up to what the first that failed has left.
    What follows it, and other jobs, are left out. Of any other run: all.
    """
    sources = source_layers(record.plan)
    found: dict[Digest, Stacked] = {}
    for stack in _stacks(record):
        for index, layer in enumerate(stack):
            if layer not in found:
                is_source = layer in sources
                found[layer] = Stacked(layer, () if is_source else stack[:index], is_source)
    return tuple(found.values())


def kept_contents(record: Record) -> tuple[tuple[ContentKind, Digest], ...]:
    """Return the logs of all steps and services, and the artifacts of the jobs whose layers are kept."""
    logs = [step.output for job in record.jobs for step in job.steps if step.output is not None]
    logs += [service.output for job in record.jobs for service in job.services]
    artifacts = [step.artifacts for job in _chosen(record) for step in job.steps if step.artifacts is not None]
    named: dict[Digest, ContentKind] = dict.fromkeys(logs, "log")
    named.update((digest, "artifacts") for digest in artifacts if digest not in named)
    return tuple((kind, digest) for digest, kind in named.items())


def source_layers(plan: Plan) -> frozenset[Digest]:
    """Return the layers that hold files of the source."""
    steps = [step for job in plan.jobs for step in job.steps]
    copied = {step.copy.context.layer for step in steps if step.copy is not None and step.copy.context is not None}
    return frozenset(copied | {step.source.layer for step in steps if step.source is not None})


def images(job: Job) -> tuple[Image, ...]:
    """Return the image of the job, and those of its services."""
    return (job.image, *(service.image for service in job.services))


def _stacks(record: Record) -> Iterator[tuple[Digest, ...]]:
    """Yield stacks of layers, bottom first."""
    plans = {job.name: job for job in record.plan.jobs}
    for done in _chosen(record):
        plan = plans[done.name]
        yield from (image.layers for image in images(plan))
        yield from ((step.source.layer,) for step in plan.steps if step.source is not None)
        for step, ended in zip(plan.steps, done.steps, strict=True):
            if ended.after is None:
                continue
            yield ended.before
            if step.copy is not None:
                yield origin_of(record, step.copy) or ()
            yield ended.after
            if ended.status == "failed":
                break


def _chosen(record: Record) -> tuple[JobRecord, ...]:
    failed = tuple(job for job in record.jobs if any(step.status == "failed" for step in job.steps))
    return failed or record.jobs

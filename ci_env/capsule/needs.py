"""What of the store a record speaks of: without it, its run can be shown but not replayed. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ci_env.capsule.record import Record
from ci_env.capsule.stacks import images
from ci_env.digest import Digest
from ci_env.frozen import dataclass
from ci_env.plan.plan import Copy


@dataclass(frozen=True, slots=True)
class Needs:
    layers: frozenset[Digest]
    blobs: frozenset[Digest]


def needs(record: Record) -> Needs:
    """Return what the record needs: images of its jobs, what steps have copied, their layers, logs and artifacts."""
    steps = [step for job in record.jobs for step in job.steps if step.after is not None]
    layers = {layer for job in record.plan.jobs for image in images(job) for layer in image.layers}
    layers |= {layer for step in steps for layer in (*step.before, *(step.after or ()))}
    layers |= {layer for copy in _done_copies(record) for layer in copy.layers}
    layers |= {copy.context.layer for copy in _done_copies(record) if copy.context is not None}
    blobs = {blob for step in steps for blob in (step.output, step.artifacts) if blob is not None}
    blobs |= {service.output for job in record.jobs for service in job.services}
    return Needs(frozenset(layers), frozenset(blobs))


def _done_copies(record: Record) -> Iterator[Copy]:
    """Yield what the steps that ran have copied."""
    plans = {job.name: job for job in record.plan.jobs}
    for job in record.jobs:
        for step, done in zip(plans[job.name].steps, job.steps, strict=True):
            if step.copy is not None and done.ended is not None:
                yield step.copy


def all_needs(record: Record) -> frozenset[Digest]:
    """Return the same without its kind, as the store asks for it."""
    found = needs(record)
    return found.layers | found.blobs

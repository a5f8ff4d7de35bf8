"""What the jobs of a recorded run have left. Pure."""

from __future__ import annotations

from ci_env.capsule.record import Record
from ci_env.digest import Digest
from ci_env.plan.chain import is_on_chain
from ci_env.plan.plan import Copy


def layers_left(record: Record, name: str) -> tuple[Digest, ...] | None:
    """Return the layers of what the job called `name` has left, bottom first; None where it did not come to its end."""
    plan = next(job for job in record.plan.jobs if job.name == name)
    done = next((job for job in record.jobs if job.name == name), None)
    if done is None or done.status not in ("passed", "cached"):
        return None
    for step, ended in reversed(tuple(zip(plan.steps, done.steps, strict=True))):
        if is_on_chain(step.when) and ended.after is not None:
            return ended.after
    return plan.image.layers if plan.base is None else layers_left(record, plan.base)


def origin_of(record: Record, copy: Copy) -> tuple[Digest, ...] | None:
    """Return the layers that a step has copied from, bottom first; None where they were not there."""
    if copy.context is not None:
        return (copy.context.layer,)
    return copy.layers if copy.job is None else layers_left(record, copy.job)

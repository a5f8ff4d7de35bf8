"""Which steps of a job stand on each other. Owns the place of `when: on_failure`: beside the chain."""

from __future__ import annotations

from ci_env.digest import Digest
from ci_env.pipeline.model import When
from ci_env.plan.plan import Job, SourceLayer


def is_on_chain(when: When) -> bool:
    """Tell whether later steps see what such a step leaves; `on_failure` runs only where no later result counts."""
    return when != "on_failure"


def last_key(job: Job) -> Digest:
    """Return the key of all that `job` leaves when it passes: of its last step on the chain."""
    return next((step.key for step in reversed(job.steps) if is_on_chain(step.when)), job.start)


def leaves_artifacts(job: Job) -> bool:
    """Tell whether `job`, when it passes, may leave artifacts or reports."""
    return any((step.artifacts or step.junit) and is_on_chain(step.when) for step in job.steps)


def source_beneath(job: Job, index: int) -> SourceLayer | None:
    """Return the source that the step at `index` expects in its workspace: its own, or the last one on the chain.

    Where a step before it was skipped, that source has not been laid yet. None only where no step has one.
    """
    step = job.steps[index]
    earlier = (other.source for other in reversed(job.steps[:index]) if is_on_chain(other.when) and other.source)
    return step.source or next(earlier, None)

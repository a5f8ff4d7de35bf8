"""Keys that are part of version 1 but whose function is still to come. Refused, never ignored."""

from __future__ import annotations

from ci_env.pipeline.positions import KeyPath, Problems
from ci_env.pipeline.schema import File, Job

_MESSAGE = "not supported yet by this ci-env"


def refuse_unsupported(file: File, problems: Problems) -> None:
    """Note every use of what this ci-env cannot do yet."""
    for name, job in file.jobs.items():
        _refuse_in_job(job, ("jobs", name), problems)


def _refuse_in_job(job: Job, path: KeyPath, problems: Problems) -> None:
    for key in ("services",):
        if key in job.model_fields_set:
            problems.at_key((*path, key), f"{_MESSAGE}; leave it out")

"""`secrets` and `secret_env` of a job: which secrets its steps get, and where. Pure; knows no value."""

from __future__ import annotations

from collections.abc import Iterable

from ci_env.pipeline import model
from ci_env.pipeline.positions import KeyPath, Problems, shown
from ci_env.pipeline.reading import first_twice
from ci_env.pipeline.schema import Job
from ci_env.pipeline.suggest import did_you_mean

PLACE = "/run/secrets"


def expand_secrets(
    job: Job, path: KeyPath, steps: Iterable[model.Step], problems: Problems
) -> tuple[model.Secret, ...]:
    """Return the secrets of a job whose steps are `steps`; what is wrong with them is noted."""
    if len(set(job.secrets)) < len(job.secrets):
        problems.at_key((*path, "secrets"), f"{shown(first_twice(job.secrets))} is there twice")
    declared = {variable for step in steps for variable in step.env}
    for variable, name in job.secret_env.items():
        at = (*path, "secret_env", variable)
        if name not in job.secrets:
            problems.at_value(at, f"`secrets` has no {shown(name)}{did_you_mean(name, job.secrets)}")
        if variable in declared:
            problems.at_key(at, f"`env` sets {variable}, too; a variable has one value")
    if job.secrets and any(_is_covered(cache) for step in steps for cache in step.caches):
        problems.at_key((*path, "secrets"), f"they lie in {PLACE}, where a cache of a step is to be, too")
    return tuple(
        model.Secret(name, tuple(variable for variable, of in job.secret_env.items() if of == name))
        for name in dict.fromkeys(job.secrets)
    )


def _is_covered(cache: str) -> bool:
    return cache == PLACE or cache.startswith(f"{PLACE}/")

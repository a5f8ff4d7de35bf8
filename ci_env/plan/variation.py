"""A plan under other circumstances, for `verify`: what its results should not depend on is not what it was. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Literal

from ci_env.digest import Digest, Json
from ci_env.frozen import dataclass, replace
from ci_env.plan import keys
from ci_env.plan.chain import is_on_chain
from ci_env.plan.plan import HOSTNAME, UMASK, Job, Plan, Step

Circumstance = Literal["hostname", "umask", "locale", "time-zone", "processors"]
"""the last is none of a plan's"""
CIRCUMSTANCES: tuple[Circumstance, ...] = ("hostname", "umask", "locale", "time-zone")
OTHER_HOSTNAME = "elsewhere"
OTHER_UMASK = 0o002
"""what a step may rely on stays allowed: others can read what it makes"""
_LOCALE, _OTHER_LOCALE = "C.UTF-8", "C"
_TIME_ZONE, _OTHER_TIME_ZONE = "UTC", "<+0545>-5:45"
"""by its rule (POSIX.1-2017, 8.3), since images may have no table of zones"""


@dataclass(frozen=True, slots=True)
class Change:
    circumstance: Circumstance
    usual: str
    other: str


def changes(plan: Plan) -> tuple[Change, ...]:
    """Return what `vary` changes in a plan: not what its file, or its images, have set to something of their own."""
    steps = [step for job in plan.jobs for step in job.steps]
    found: list[Change] = []
    if plan.hostname == HOSTNAME:
        found.append(Change("hostname", HOSTNAME, OTHER_HOSTNAME))
    if any(step.umask == UMASK for step in steps):
        found.append(Change("umask", f"{UMASK:03o}", f"{OTHER_UMASK:03o}"))
    if any(_has_usual_locale(step.env) for step in steps):
        found.append(Change("locale", _LOCALE, _OTHER_LOCALE))
    if any(step.env.get("TZ") == _TIME_ZONE for step in steps):
        found.append(Change("time-zone", _TIME_ZONE, _OTHER_TIME_ZONE))
    return tuple(found)


def vary(plan: Plan, circumstances: Collection[Circumstance] = CIRCUMSTANCES) -> Plan:
    """Return the plan under other circumstances, those named; with the keys that belong to it."""
    hostname = OTHER_HOSTNAME if "hostname" in circumstances and plan.hostname == HOSTNAME else plan.hostname
    jobs = tuple(replace(job, steps=tuple(_step(step, circumstances) for step in job.steps)) for job in plan.jobs)
    return rekeyed(replace(plan, hostname=hostname, jobs=jobs))


def rekeyed(plan: Plan) -> Plan:
    """Return the plan with the keys that its steps have as they are."""
    done: dict[str, Job] = {}
    for job in plan.jobs:
        assert job.base is None, "builds are not varied"
        start = keys.start_preimage(job.image, keys.taken_keys(job.takes, done), job.services)
        first = keys.start_key(start)
        steps = tuple(_rekeyed(job.steps, first, start, plan.hostname))
        done[job.name] = replace(job, start=first, steps=steps)
    return replace(plan, jobs=tuple(done.values()))


def _rekeyed(steps: Collection[Step], first: Digest, start: Mapping[str, Json], hostname: str) -> Iterator[Step]:
    parent = first
    for step in steps:
        moved = replace(step, parent=parent)
        preimage = keys.step_preimage(moved, start=start if parent == first else None, hostname=hostname)
        new = replace(moved, key=keys.step_key(preimage))
        if is_on_chain(step.when):
            parent = new.key
        yield new


def _step(step: Step, circumstances: Collection[Circumstance]) -> Step:
    env = dict(step.env)
    if "locale" in circumstances and _has_usual_locale(env):
        env |= {"LANG": _OTHER_LOCALE, "LC_ALL": _OTHER_LOCALE}
    if "time-zone" in circumstances and env.get("TZ") == _TIME_ZONE:
        env["TZ"] = _OTHER_TIME_ZONE
    umask = OTHER_UMASK if "umask" in circumstances and step.umask == UMASK else step.umask
    return replace(step, env=dict(sorted(env.items())), umask=umask)


def _has_usual_locale(env: Mapping[str, str]) -> bool:
    return env.get("LANG") == _LOCALE and "LC_ALL" not in env

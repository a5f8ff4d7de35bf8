"""Compares two runs of one plan under different circumstances, step by step; finds the circumstance that matters.

Enters after the plan, as replays do. What is run again here is kept nowhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import cast

from ci_env.capsule.record import Record, StepRecord
from ci_env.execute.programs import layer_contrast
from ci_env.execute.sandbox import Furnisher
from ci_env.frozen import dataclass, replace
from ci_env.plan.variation import Change, vary
from ci_env.ports import Machine
from ci_env.replay.again import Stage, recorded, run_again
from ci_env.replay.choice import Chosen, steps_of
from ci_env.replay.contrast import Contrast, Kind, contrasts_of, kind_of
from ci_env.replay.verdict import Outcome


@dataclass(frozen=True, slots=True)
class Finding:
    """The first step that has not come to the same."""

    step: str
    contrasts: tuple[Contrast, ...]
    """the first of them; none where only the ending differs"""
    count: int
    """of all paths that differ"""
    endings: tuple[str, str] | None
    """None: it has ended equally"""
    kinds: tuple[Kind, ...]
    """circumstances, each of which makes a difference by itself; else one kind, by the bytes"""


@dataclass(frozen=True, slots=True)
class Verified:
    steps: int
    """how many were compared"""
    times: int
    """how many files were left with other times, and alike in all else"""
    finding: Finding | None
    """None: equal"""


def verify(
    usual: Record, other: Record, changed: Sequence[Change], stage: Stage, tell: Callable[[str], None]
) -> Verified:
    """Compare the steps of two runs in order, up to the first one that differs.

    `changed` is what was otherwise in the `other` run; `tell` is told what is tried to find out which of it matters.
    """
    times = compared = 0
    for chosen, again in zip(steps_of(usual), steps_of(other), strict=True):
        was, now = chosen.record, again.record
        if not was.after or not now.after:
            if was.status == now.status:
                continue
            return Verified(compared, times, Finding(chosen.name, (), 0, _endings(was, now), ("unknown",)))
        compared += 1
        layers = [stage.layers.directory(one.after[-1]) for one in (was, now) if one.after]
        answer = layer_contrast(stage.runner, *layers)
        contrasts, count = contrasts_of(answer), cast("int", answer["count"])
        times += cast("int", answer["times"])
        endings = _endings(was, now)
        if count or endings is not None:
            kinds = _kinds(chosen, contrasts, usual, changed, stage, tell)
            return Verified(compared, times, Finding(chosen.name, contrasts, count, endings, kinds))
    return Verified(compared, times, None)


def _kinds(
    chosen: Chosen,
    contrasts: Sequence[Contrast],
    usual: Record,
    changed: Sequence[Change],
    stage: Stage,
    tell: Callable[[str], None],
) -> tuple[Kind, ...]:
    """Find out why a step differs, by running it again: as it was, then with one circumstance changed at a time."""
    began_s = int(time.time())
    tell(f"{chosen.name} differs: running it again as it was")
    same = _run(chosen, stage, ())
    if _result(same) == _result(recorded(stage, chosen)):
        found: list[Kind] = []
        for change in changed:
            other = "other" if change.circumstance == "processors" else "another"
            tell(f"{chosen.name}: running it again with {other} {change.circumstance}")
            if _result(_run(chosen, stage, (change,))) != _result(same):
                found.append(change.circumstance)
        if found:
            return tuple(found)
    if not contrasts:
        return ("unknown",)
    took_s = sum(record.duration_ms for job in usual.jobs for record in job.steps) // 1000
    return (kind_of(contrasts, changed, began_s=began_s - took_s, ended_s=began_s),)


def _run(chosen: Chosen, stage: Stage, changed: Sequence[Change]) -> Outcome:
    """Run the step on what it saw in the usual run."""
    plan = vary(stage.furnisher.plan, [change.circumstance for change in changed])
    job = next(job for job in plan.jobs if job.name == chosen.job.name)
    step = next(step for step in job.steps if step.name == chosen.step.name)
    furnisher: Furnisher = replace(stage.furnisher, plan=plan, machine=machine_of(changed))
    return run_again(replace(stage, furnisher=furnisher), [replace(chosen, job=job, step=step)], lambda _: None)


def machine_of(changed: Sequence[Change]) -> Machine | None:
    """Return the machine that steps are to find where the processors are changed; None: this one."""
    others = [int(change.other) for change in changed if change.circumstance == "processors"]
    return Machine(others[0], others[0], memory_bytes=0) if others else None


def _result(outcome: Outcome) -> tuple[object, ...]:
    return outcome.ended, outcome.exit_code, outcome.signal, outcome.tree


def _endings(was: StepRecord, now: StepRecord) -> tuple[str, str] | None:
    facts = [(one.status, one.ended, one.exit_code, one.signal) for one in (was, now)]
    return None if facts[0] == facts[1] else (_ending(was), _ending(now))


def _ending(step: StepRecord) -> str:
    if step.ended is None:
        return step.status
    detail = f"signal {step.signal}" if step.signal is not None else f"exit status {step.exit_code}"
    return f"{step.status}: {step.ended if step.ended not in ('exit', 'signal') else detail}"

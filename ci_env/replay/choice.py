"""Which recorded step a replay is about. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ci_env.capsule.left import origin_of
from ci_env.capsule.record import Record, StepRecord
from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.frozen import dataclass
from ci_env.plan.plan import Job, Step


@dataclass(frozen=True, slots=True)
class Chosen:
    """A step of a recorded run: what it was to do, and what became of it."""

    job: Job
    step: Step
    record: StepRecord
    origin: tuple[Digest, ...] | None = None
    """the layers that it copied from, if it is one that copies"""

    @property
    def name(self) -> str:
        return f"{self.job.name}/{self.step.name}"

    @property
    def timeout_s(self) -> int | None:
        """Return the tighter of the step's limit and its job's."""
        limits = [limit for limit in (self.step.timeout_s, self.job.timeout_s) if limit is not None]
        return min(limits, default=None)


def choose_step(record: Record, name: str | None) -> Chosen:
    """Return the step called `name` (`STEP` or `JOB/STEP`); without a name the first that failed, else the last to run.

    ConfigError where there is none, or more than one, or it did not run and so left nothing to begin from.
    """
    steps = tuple(steps_of(record))
    if name is not None:
        found = [chosen for chosen in steps if name in (chosen.step.name, chosen.name)]
    else:
        found = [chosen for chosen in steps if chosen.record.status == "failed"][:1] or [
            chosen for chosen in steps if chosen.record.after is not None
        ][-1:]
    if not found:
        raise _missing(record, steps, name)
    if len(found) > 1:
        names = ", ".join(repr(chosen.name) for chosen in found)
        raise ConfigError(
            f"run {record.run_id} has {len(found)} steps called {name!r}: {names}", hint="name the job, too"
        )
    if found[0].record.after is None:
        status = found[0].record.status
        raise ConfigError(f"the step {found[0].name!r} of run {record.run_id} was {status}: there is nothing to replay")
    return found[0]


def choose_steps(
    record: Record, name: str | None, *, first: str | None = None, whole: bool = False
) -> tuple[Chosen, ...]:
    """Return the steps to run one after another; the last is the one that `choose_step` returns for `name`.

    They are those of its job that ran then, from the one called `first` on, or with `whole` from the job's first.
    ConfigError where `first` is none of them.
    """
    last = choose_step(record, name)
    if first is None and not whole:
        return (last,)
    ran = [one for one in steps_of(record) if one.job == last.job and one.record.after is not None]
    ran = ran[: ran.index(last) + 1]
    if first is None:
        return tuple(ran)
    begin = choose_step(record, first if "/" in first else f"{last.job.name}/{first}")
    if begin not in ran:
        other = "is of another job than" if begin.job != last.job else "comes after"
        raise ConfigError(f"the step {begin.name!r} {other} {last.name!r}, to which the replay is to go")
    return tuple(ran[ran.index(begin) :])


def steps_of(record: Record) -> Iterator[Chosen]:
    """Yield all steps of the jobs that have ended, in order."""
    plans = {job.name: job for job in record.plan.jobs}
    for job in record.jobs:
        plan = plans[job.name]
        for step, done in zip(plan.steps, job.steps, strict=True):
            yield Chosen(plan, step, done, None if step.copy is None else origin_of(record, step.copy))


def _missing(record: Record, steps: tuple[Chosen, ...], name: str | None) -> ConfigError:
    if not steps:
        return ConfigError(f"run {record.run_id} ended before a step did ({record.status}): there is nothing to replay")
    from ci_env.pipeline.suggest import did_you_mean

    known = dict.fromkeys(known for chosen in steps for known in (chosen.step.name, chosen.name))
    hint = f"its steps: {', '.join(dict.fromkeys(chosen.name for chosen in steps))}"
    return ConfigError(f"run {record.run_id} has no step {name!r}{did_you_mean(name or '', known)}", hint=hint)

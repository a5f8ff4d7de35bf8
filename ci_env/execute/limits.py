"""What people are told of limits: that one was reached and how to set it, or that this machine does not hold it."""

from __future__ import annotations

from ci_env.events import Emit, Note
from ci_env.pipeline.model import DEFAULT_PIDS, NO_LIMITS, Limits
from ci_env.plan.plan import Job, Step
from ci_env.ports import Exit, Runner


def warn_of_weakness(runner: Runner, limits: Limits, emit: Emit) -> None:
    """Tell which of the limits given do not hold as they should."""
    weakness = None if limits == NO_LIMITS else runner.weakness(limits)
    if weakness is not None:
        emit(Note("warning", weakness))


def advise(job: Job, step: Step, ended: Exit, emit: Emit) -> None:
    """Tell what to write for a step that has come to a limit to get further."""
    advice = _advice(ended, step.limits)
    if advice is not None:
        emit(Note("info", f"{job.name} / {step.name}: {advice}"))


def _advice(ended: Exit, limits: Limits) -> str | None:
    if ended.reason == "oom" and limits.memory_bytes is None:
        return "this machine, or what limits ci-env in it, had no more memory"
    if ended.reason == "oom":
        return "all its processes share one memory limit; the job's `limits: {memory: …}` raises it"
    if ended.reason == "pids":
        return f"more than {limits.pids or DEFAULT_PIDS} processes and threads need the job's `limits: {{pids: …}}`"
    if ended.reason == "disk":
        return "what it writes outside of its caches counts; the job's `limits: {disk: …}` raises the limit"
    return None

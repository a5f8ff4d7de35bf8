"""How records look on a terminal. Pure; owns columns and words, not where they are printed."""

from __future__ import annotations

from collections.abc import Iterator

from ci_env.capsule.ending import describe
from ci_env.capsule.record import Record, StepRecord
from ci_env.ui.clean import clean
from ci_env.ui.durations import duration

_STATUS_WIDTH = len("interrupted")
_DURATION_WIDTH = len("59 min 59 s")


def row(record: Record, status: str) -> str:
    """Return a run as one line: id, status, duration, pipeline file, commit."""
    took = duration(record.duration_ms) if status not in ("running", "interrupted") else ""
    parts = (
        record.run_id,
        f"{status:{_STATUS_WIDTH}}",
        f"{took:>{_DURATION_WIDTH}}",
        clean(record.file),
        _source(record),
    )
    return "  ".join(parts).rstrip()


def details(record: Record, status: str) -> Iterator[str]:
    """Return a run as lines: what it was given, and each job with its steps."""
    host = record.host
    yield f"run {record.run_id}: {status}"
    yield f"  started   {record.started_at}, took {duration(record.duration_ms)}"
    yield f"  pipeline  {clean(record.file)}"
    yield f"  source    {_source(record)}, tree {record.plan.source.tree[:19]}"
    yield f"  machine   Linux {host.kernel} {host.architecture}, {host.cpus} CPUs, {host.filesystem}, as {host.user}"
    yield from (f"  {name:8}  {clean(value)}" for name, value in record.ci.items())
    plans = {job.name: job for job in record.plan.jobs}
    for job in record.jobs:
        plan = plans[job.name]
        yield ""
        yield f"{clean(job.name)}: {job.status}, {duration(job.duration_ms)}"
        yield f"  image {clean(plan.image.reference)} ({plan.image.manifest or plan.image.host})"
        width = max(len(step.name) for step in job.steps)
        for step, planned in zip(job.steps, plan.steps, strict=True):
            yield f"  {clean(step.name):{width}}  {_step(step, planned.timeout_s)}".rstrip()


def _step(step: StepRecord, timeout_s: int | None) -> str:
    ending = describe(step.ended, step.exit_code, step.signal, timeout_s=timeout_s) if step.status == "failed" else ""
    took = duration(step.duration_ms) if step.status != "skipped" else ""
    return f"{step.status:9}  {took:>{_DURATION_WIDTH}}  {ending}"


def _source(record: Record) -> str:
    source = record.plan.source
    name = f"commit {source.commit[:12]}" if source.commit else "no commit"
    return f"{name} with changes" if source.dirty else name

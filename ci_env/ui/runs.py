"""How records look on a terminal. Pure; owns columns and words, not where they are printed."""

from __future__ import annotations

from collections.abc import Iterator

from ci_env.capsule.ending import describe
from ci_env.capsule.record import Record, ServiceRecord, StepRecord
from ci_env.events import Usage
from ci_env.plan.plan import Step
from ci_env.ui.clean import clean
from ci_env.ui.durations import duration
from ci_env.ui.sizes import size

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
        source(record),
    )
    return "  ".join(parts).rstrip()


def details(record: Record, status: str) -> Iterator[str]:
    """Return a run as lines: what it was given, and each job with its steps."""
    host = record.host
    yield f"run {record.run_id}: {status}"
    yield f"  started   {record.started_at}, took {duration(record.duration_ms)}"
    yield f"  pipeline  {clean(record.file)}"
    yield f"  source    {source(record)}, tree {record.plan.source.tree[:19]}"
    yield f"  machine   Linux {host.kernel} {host.architecture}, {host.cpus} CPUs, {host.filesystem}, as {host.user}"
    yield from (f"  {name:8}  {clean(value)}" for name, value in record.ci.items())
    plans = {job.name: job for job in record.plan.jobs}
    for job in record.jobs:
        plan = plans[job.name]
        yield ""
        yield f"{clean(job.name)}: {job.status}, {duration(job.duration_ms)}"
        yield f"  image {clean(plan.image.reference)} ({plan.image.manifest or plan.image.host})"
        yield from map(_service, job.services)
        width = max(len(step.name) for step in job.steps)
        for step, planned in zip(job.steps, plan.steps, strict=True):
            yield f"  {clean(step.name):{width}}  {_step(step, planned)}".rstrip()


def _service(service: ServiceRecord) -> str:
    ending = describe(service.ended, service.exit_code, service.signal) if service.status == "ended" else ""
    told = f"  service {clean(service.name)}: {service.status}, {duration(service.duration_ms)}"
    return f"{told}  {ending}".rstrip()


def _step(step: StepRecord, planned: Step) -> str:
    ending = ending_of(step, planned) if step.status == "failed" else ""
    took = duration(step.duration_ms) if step.status != "skipped" else ""
    told = "; ".join(filter(None, (ending, "" if step.used is None else _used(step.used))))
    return f"{step.status:9}  {took:>{_DURATION_WIDTH}}  {told}"


def ending_of(step: StepRecord, planned: Step) -> str:
    """Return how a step ended, with the limits that it had, in words."""
    limits, timeout_s = planned.limits, planned.timeout_s
    return describe(step.ended, step.exit_code, step.signal, timeout_s=timeout_s, limits=limits)


def _used(used: Usage) -> str:
    """Return `0.4 s of CPU, 41.2 MiB of memory, 1.2 MiB read, 3.0 MiB written`, without what is not known."""
    parts = (
        None if used.cpu_ms is None else f"{duration(used.cpu_ms)} of CPU",
        _amount(used.peak_memory_bytes, "of memory"),
        _amount(used.read_bytes, "read"),
        _amount(used.written_bytes, "written"),
    )
    return ", ".join(filter(None, parts))


def _amount(size_bytes: int | None, what: str) -> str:
    return f"{size(size_bytes)} {what}" if size_bytes else ""


def source(record: Record) -> str:
    """Return `commit 0123456789ab with changes`."""
    seen = record.plan.source
    name = f"commit {clean(seen.commit[:12])}" if seen.commit else "no commit"
    return f"{name} with changes" if seen.dirty else name

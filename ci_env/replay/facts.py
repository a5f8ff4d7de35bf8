"""A record as facts that can be compared one by one. Owns which there are, and what they are called. Pure.

Left out is what no two runs share: ids, times of day, how long things took.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ci_env.capsule.record import Record
from ci_env.digest import Json
from ci_env.frozen import dataclass
from ci_env.pipeline.model import Limits
from ci_env.plan.keys import step_preimage
from ci_env.plan.plan import Job, Plan, Service, Step
from ci_env.replay.weights import Kind

_RUN = ""
_OF_A_RUN = {"run", "number", "attempt", "url", "pipeline", "sha", "runner_name"}
"""facts of a CI service that are others each time, or told of elsewhere"""
_LOCALE = ("LANG", "LANGUAGE")
_FIELDS: Mapping[str, tuple[Kind, str]] = {
    "version": ("rules", "rules of keys"),
    "source": ("source", "source files"),
    "argv": ("command", "command"),
    "user": ("user", "user"),
    "workdir": ("workdir", "working directory"),
    "umask": ("umask", "umask"),
    "hostname": ("hostname", "host name"),
    "network": ("network", "network"),
    "allow": ("network", "allowed hosts"),
    "caches": ("caches", "caches"),
    "timeout_s": ("timeout", "timeout (s)"),
    "secrets": ("secrets", "secrets"),
    "artifacts": ("collected", "artifacts"),
    "junit": ("collected", "reports"),
    "limits.cpus_milli": ("limit-cpus", "limit of cpus (1/1000)"),
    "limits.memory_bytes": ("limit-memory", "limit of memory (bytes)"),
    "limits.pids": ("limit-pids", "limit of processes"),
    "limits.disk_bytes": ("limit-disk", "limit of disk (bytes)"),
    "limits.open_files": ("limit-files", "limit of open files"),
}
_ELSEWHERE = {"parent", "start", "env", "limits", "copy"}
"""of a preimage: what the facts of other steps and of the job say, and what is taken apart"""


@dataclass(frozen=True, slots=True)
class Place:
    """What a fact is about."""

    kind: Kind
    what: str
    where: str
    """`JOB/STEP`, `JOB`, or empty: the run"""


def facts(record: Record, *, has_run: bool) -> Mapping[Place, str]:
    """Return all facts, as text that two records agree on if they agree.

    `has_run` tells whether steps ran in both of them: where all were found in a store, nobody asked for the isolation.
    """
    found = dict(_of_run(record, has_run=has_run))
    for job in record.plan.jobs:
        found.update(_of_job(job))
        for step in job.steps:
            found.update(_of_step(record.plan, job, step))
    return found


def _of_run(record: Record, *, has_run: bool) -> Iterator[tuple[Place, str]]:
    host, source = record.host, record.plan.source
    named: Sequence[tuple[Kind, str, str | None]] = [
        ("architecture", "architecture", host.architecture),
        ("kernel", "kernel", host.kernel),
        ("cpus", "cpus", str(host.cpus)),
        ("cpus", "cpus online", None if host.cpus_online is None else str(host.cpus_online)),
        ("memory", "memory (MiB)", str(host.memory_bytes >> 20)),
        ("filesystem", "filesystem", host.filesystem),
        ("ids", "run as", host.user if has_run or host.user == "root" else "rootless"),
        ("commit", "commit", source.commit),
        ("commit", "uncommitted changes", "yes" if source.dirty else "no"),
        ("commit", "kind of source", source.kind),
        ("commit", "source tree", source.tree),
        ("other", "pipeline file", record.file),
        ("measures", "isolation", ", ".join(sorted(host.measures)) if has_run else None),
    ]
    yield from ((Place(kind, what, _RUN), value) for kind, what, value in named if value is not None)
    yield from ((Place("ci", f"CI {name}", _RUN), value) for name, value in record.ci.items() if name not in _OF_A_RUN)


def _of_job(job: Job) -> Iterator[tuple[Place, str]]:
    image = job.image
    named: Sequence[tuple[Kind, str, str | None]] = [
        ("image-name", "image name", image.reference),
        ("image-name", "image manifest", image.manifest),
        ("image", "image layers", " ".join(image.layers) or None),
        ("host-image", "operating system", image.host),
        ("platform", "platform", image.platform),
        ("timeout", "job timeout (s)", None if job.timeout_s is None else str(job.timeout_s)),
        ("other", "artifacts from jobs", ", ".join(job.takes) or None),
        ("other", "begins with job", job.base),
    ]
    yield from ((Place(kind, what, job.name), value) for kind, what, value in named if value is not None)
    for service in job.services:
        for what, value in _of_service(service):
            yield Place("service", f"service {service.name} {what}", job.name), value


def _of_service(service: Service) -> Iterator[tuple[str, str]]:
    yield "image", " ".join(service.image.layers) or service.image.reference
    yield "command", _text(service.argv)
    yield "user", service.user
    yield "workdir", service.workdir
    yield "aliases", ", ".join(service.aliases)
    yield "ready", str(service.ready)
    yield "limits", "" if service.limits == Limits(None, None, None, None, None) else str(service.limits)
    yield from ((f"variable {name}", value) for name, value in service.env.items())


def _of_step(plan: Plan, job: Job, step: Step) -> Iterator[tuple[Place, str]]:
    """Yield what is in the preimage of the step's key, so nothing that decides a result can be missed."""
    where = f"{job.name}/{step.name}"
    preimage = step_preimage(step, start=None, hostname=plan.hostname)
    for field, value in _flat(preimage):
        kind, what = _FIELDS.get(field) or ("copy" if field.startswith("copy.") else "other", field)
        text = f"{value:03o}" if field == "umask" and isinstance(value, int) else _text(value)
        if text:
            yield Place(kind, what, where), text
    for name, value in step.env.items():
        if name != "SOURCE_DATE_EPOCH":  # the commit's time
            yield Place(_kind_of_variable(name), f"variable {name}", where), value
    if "SOURCE_DATE_EPOCH" in step.env:
        yield Place("source-times", "variable SOURCE_DATE_EPOCH", where), step.env["SOURCE_DATE_EPOCH"]


def _flat(preimage: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    yield from ((field, value) for field, value in preimage.items() if field not in _ELSEWHERE)
    for section in ("limits", "copy"):
        inner = preimage.get(section)
        if isinstance(inner, Mapping):
            yield from ((f"{section}.{field}", value) for field, value in inner.items())


def _kind_of_variable(name: str) -> Kind:
    if name == "TZ":
        return "time-zone"
    if name in _LOCALE or name.startswith("LC_"):
        return "locale"
    return "path" if name == "PATH" else "variable"


def _text(value: Json | Sequence[str]) -> str:
    if value is None:
        return ""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\n".join(_text(item) for item in value)
    return str(value)

"""What a replay of a capsule does not bring back, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ci_env.capsule.form import Capsule
from ci_env.capsule.record import Record
from ci_env.plan.plan import Job, Step

_LOOPBACK = ("localhost", "127.", "[::1]")


def unreproduced(record: Record, capsule: Capsule) -> tuple[str, ...]:
    """Return what may make a replay elsewhere go another way."""
    return tuple(_lines(record, capsule))


def _lines(record: Record, capsule: Capsule) -> Iterator[str]:
    host = record.host
    processor = f"the processor ({host.cpus} {host.architecture})"
    yield f"the kernel ({host.kernel}), {processor}, the order in which {host.filesystem} lists files, and the time"
    ran = tuple(_ran(record))
    hosts = [job.name for job in record.plan.jobs if job.image.host is not None]
    if hosts:
        system = "the operating system of the machine that it ran on; on another, a replay cannot tell"
        yield f"`image: host` of {_listed(hosts)}: {system}"
    networked = [f"{job.name}/{step.name}" for job, step in ran if step.network != "none"]
    if networked:
        yield f"what came over the network in {_listed(networked)}"
    cached = [f"{job.name}/{step.name}" for job, step in ran if step.caches]
    if cached:
        yield f"what the caches of {_listed(cached)} held"
    served = [f"{job.name}: {service.name}" for job in record.plan.jobs for service in job.services]
    if served:
        yield f"what services had in memory or on disk when the step began ({_listed(served)}): they start anew"
    secrets = sorted({secret.name for _, step in ran for secret in step.secrets})
    if secrets:
        yield f"the values of the secrets {_listed(secrets)}"
    redacted = sum(part.redacted for part in capsule.layers)
    if redacted:
        yield f"{redacted} files that held a secret: the secret is blotted out in them"
    for base in capsule.bases:
        is_near = base.reference.startswith(_LOOPBACK)
        where = ", a registry of the machine that it ran on" if is_near else ""
        yield f"the layers of {base.reference}, which are pulled{where}"


def _ran(record: Record) -> Iterator[tuple[Job, Step]]:
    plans = {job.name: job for job in record.plan.jobs}
    for job in record.jobs:
        for step, done in zip(plans[job.name].steps, job.steps, strict=True):
            if done.after is not None:
                yield plans[job.name], step


def _listed(names: list[str]) -> str:
    return ", ".join(dict.fromkeys(names))

"""Keys and the preimages that they are digests of. Owns which facts can affect a result.

A preimage holds every such fact and nothing else: no name, no reference, no path of the host. A changed rule, here or
in what a sandbox is, is a changed `KEY_VERSION`: every older result is then a miss.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ci_env.digest import Digest, Json, canonical_json, key
from ci_env.pipeline.model import NO_LIMITS, Limits
from ci_env.plan.chain import last_key
from ci_env.plan.plan import Copy, Image, Job, Plan, Service, Step

KEY_VERSION = 2


def source_layer(tree: str, *, epoch: int) -> Digest:
    """Return the id of a layer of source files. `tree` is the id of the whole source, or the digest of a listing."""
    return key("source-layer", {"version": KEY_VERSION, "tree": tree, "epoch": epoch})


def context_layer(listing: Digest, *, epoch: int) -> Digest:
    """Return the id of a layer of files of a build's context, by the digest of their paths, modes and contents."""
    return key("context-layer", {"version": KEY_VERSION, "listing": listing, "epoch": epoch})


def cache(project: Digest, target: str, *, platform: str) -> Digest:
    """Return the id of the cache that a project's steps see at `target`."""
    return key("cache", {"project": project, "target": target, "platform": platform})


def start_preimage(image: Image, taken: Sequence[Digest], services: Sequence[Service] = ()) -> Mapping[str, Json]:
    """Return what decides a job's rootfs before its first step, and what runs beside it; `taken` are `taken_keys`.

    The layers say what an image is. Its reference only says where it was found, and its configuration reaches steps
    as their env and user. The patterns of what is taken are in the keys of the steps that left it.
    """
    return {
        "version": KEY_VERSION,
        "layers": list(image.layers),
        "host": image.host,
        "platform": image.platform,
        "takes": list(taken),
        **({} if not services else {"services": {service.name: _served(service) for service in services}}),
    }


def _served(service: Service) -> Mapping[str, Json]:
    """Return what decides what a service is to the steps. When it counts as started is not part of that."""
    return {
        "aliases": sorted(service.aliases),
        "layers": list(service.image.layers),
        "host": service.image.host,
        "platform": service.image.platform,
        "argv": list(service.argv),
        "env": sorted(f"{name}={value}" for name, value in service.env.items()),
        "user": service.user,
        "workdir": service.workdir,
    }


def taken_keys(takes: Iterable[str], jobs: Mapping[str, Job]) -> tuple[Digest, ...]:
    """Return the keys of what the jobs called `takes` leave, in the order in which it is laid into a workspace."""
    return tuple(last_key(jobs[name]) for name in takes)


def start_key(preimage: Mapping[str, Json]) -> Digest:
    return key("job-start", preimage)


def step_preimage(step: Step, *, start: Mapping[str, Json] | None, hostname: str) -> Mapping[str, Json]:
    """Return what decides the result of `step`, whose own key is not looked at.

    `start` is the job's preimage if the step's parent is the job's start: `parent` covers it already, and an
    explanation can then name the image. Secrets count by their names only. Artifacts and reports are in it because a
    hit brings back those that were collected; ids of caches are not, because no result may depend on what a cache
    holds.
    """
    return {
        "version": KEY_VERSION,
        "parent": step.parent,
        "start": start,
        "source": step.source.layer if step.source else None,
        "argv": list(step.argv),
        "env": sorted(f"{name}={value}" for name, value in step.env.items()),
        "user": step.user,
        "workdir": step.workdir,
        "umask": step.umask,
        "hostname": hostname,
        "network": step.network,
        "caches": [cache.target for cache in step.caches],
        "timeout_s": step.timeout_s,
        "artifacts": list(step.artifacts),
        "junit": list(step.junit),
        **({} if step.copy is None else {"copy": _copied(step.copy)}),
        **({} if step.limits == NO_LIMITS else {"limits": _limited(step.limits)}),
        **({} if not step.allow else {"allow": list(step.allow)}),
        **({} if not step.secrets else {"secrets": [[one.name, *one.variables] for one in step.secrets]}),
    }


def _limited(limits: Limits) -> Mapping[str, Json]:
    return {
        "cpus_milli": limits.cpus_milli,
        "memory_bytes": limits.memory_bytes,
        "pids": limits.pids,
        "disk_bytes": limits.disk_bytes,
        "open_files": limits.open_files,
    }


def _copied(copy: Copy) -> Mapping[str, Json]:
    """Return what decides the result of a copy. Which job or image its origin is decides nothing but that."""
    return {
        "origin": copy.origin,
        "sources": list(copy.sources),
        "files": [[file.name, file.text] for file in copy.files],
        "destination": copy.destination,
        "chown": copy.chown,
        "chmod": copy.chmod,
        "is_unpacking": copy.is_unpacking,
    }


def step_key(preimage: Mapping[str, Json]) -> Digest:
    return key("step", preimage)


def written(preimage: Mapping[str, Json]) -> str:
    """Return the text that is kept beside a result, and that `explain.differences` reads."""
    return canonical_json(preimage).decode()


def preimage_in(plan: Plan, job: Job, step: Step) -> Mapping[str, Json]:
    """Return the preimage of `step.key`, from a whole plan: to keep it beside a result, or to check a plan."""
    if step.parent != job.start or job.base is not None:
        return step_preimage(step, start=None, hostname=plan.hostname)
    taken = taken_keys(job.takes, {other.name: other for other in plan.jobs})
    return step_preimage(step, start=start_preimage(job.image, taken, job.services), hostname=plan.hostname)

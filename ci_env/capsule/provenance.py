"""A run as provenance: an in-toto Statement v1 with a SLSA provenance predicate v1, for runs that failed too. Pure.

Sources: in-toto attestation spec/v1/statement.md and spec/v1/resource_descriptor.md; slsa.dev/spec/v1.0/provenance.
docs/provenance.md says what each field is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import cast

from ci_env.capsule.envelope import objects
from ci_env.capsule.record import JobRecord, Record, StepRecord
from ci_env.capsule.stacks import images
from ci_env.digest import Digest, Json
from ci_env.errors import ConfigError, IntegrityError
from ci_env.frozen import dataclass
from ci_env.plan.plan import Image, Source

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:ci-env:run:v1"
BUILDER = "urn:ci-env:builder"
"""where nobody says who vouches for it: the key does"""
LAYER = "ciEnvLayer"
TREE = "ciEnvTree"
"""digests that are not of a file's bytes have names of their own (resource_descriptor.md: DigestSet)"""


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that the run has made."""

    name: str
    digest: Digest


def statement(record: Record, subjects: Sequence[Subject], *, builder: str = BUILDER) -> Mapping[str, Json]:
    """Return the statement that this run has made `subjects`, of which there is at least one."""
    return {
        "_type": STATEMENT,
        "subject": [{"name": one.name, "digest": _digest(one.digest)} for one in subjects],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"file": record.file, "jobs": [job.name for job in record.plan.jobs]},
                "internalParameters": {"ci": dict(record.ci)},
                "resolvedDependencies": [_source(record.plan.source), *_images(record)],
            },
            "runDetails": {
                "builder": {"id": builder},
                "metadata": {
                    "invocationId": record.run_id,
                    "startedOn": record.started_at,
                    "finishedOn": _finished(record),
                },
                "byproducts": list(_byproducts(record)),
                "cienv_result": _result(record),
            },
        },
    }


def _source(source: Source) -> Mapping[str, Json]:
    if source.kind == "directory":
        return {"name": "source", "digest": _digest(Digest(source.tree))}
    commit = {} if source.commit is None else {"gitCommit": source.commit}
    return {
        "name": "source",
        "digest": {**commit, "gitTree": source.tree},
        "annotations": {"dirty": source.dirty},
    }


def _images(record: Record) -> Iterator[Mapping[str, Json]]:
    """Yield each image once: by its manifest, else by its top layer, else by this machine's operating system."""
    for image in dict.fromkeys(image for job in record.plan.jobs for image in images(job)):
        facts = {"reference": image.reference, "platform": image.platform}
        yield {"name": f"image {image.reference}", "digest": _image_digest(image), "annotations": facts}


def _image_digest(image: Image) -> Mapping[str, Json]:
    if image.manifest is not None:
        return _digest(image.manifest)
    if image.host is not None:
        return {"ciEnvHost": image.host.hex}
    return {LAYER: image.layers[-1].hex if image.layers else ""}


def _byproducts(record: Record) -> Iterator[Mapping[str, Json]]:
    """Yield what else came of the run: logs and artifacts by content, layers by what the store calls them."""
    for job, step in _steps(record):
        place = f"{job.name}/{step.name}"
        if step.output is not None:
            yield {"name": f"log {place}", "digest": _digest(step.output)}
        if step.artifacts is not None:
            yield {"name": f"artifacts {place}", "digest": _digest(step.artifacts)}
        if step.after:
            tree = {} if step.tree is None else {TREE: step.tree.hex}
            yield {"name": f"layer {place}", "digest": {LAYER: step.after[-1].hex, **tree}}
    for job in record.jobs:
        for service in job.services:
            yield {"name": f"log {job.name}/service:{service.name}", "digest": _digest(service.output)}


def _result(record: Record) -> Mapping[str, Json]:
    """Return how it ended: SLSA has no field for that, as it speaks of builds that passed only."""
    steps = [
        {"job": job.name, "step": step.name, "status": step.status, "exitCode": step.exit_code, "signal": step.signal}
        for job, step in _steps(record)
    ]
    return {"status": record.status, "steps": steps}


def _steps(record: Record) -> Iterator[tuple[JobRecord, StepRecord]]:
    return ((job, step) for job in record.jobs for step in job.steps)


def _finished(record: Record) -> str:
    end = datetime.fromisoformat(record.started_at) + timedelta(milliseconds=record.duration_ms)
    return f"{end:%Y-%m-%dT%H:%M:%SZ}"


def _digest(digest: Digest) -> Mapping[str, Json]:
    return {digest.algorithm: digest.hex}


def check_statement(content: bytes, made: Collection[Digest], *, what: str) -> None:
    """Raise IntegrityError unless `content` is the statement of a run that has made one of `made`.

    ConfigError where it is no such statement.
    """
    document = objects(content, what=what)
    if document.get("_type") != STATEMENT or document.get("predicateType") != PREDICATE:
        raise ConfigError(f"{what} states something else than how something was made ({PREDICATE})")
    found = document.get("subject")
    entries = cast("list[object]", found) if isinstance(found, list) else []
    digests = {digest for entry in entries for digest in _digests(entry)}
    if digests.isdisjoint(made):
        raise IntegrityError(f"{what} speaks of another run", hint="ask for the one that belongs to this file")


def _digests(entry: object) -> Iterator[str]:
    digest = cast("Mapping[str, object]", entry).get("digest") if isinstance(entry, dict) else None
    if isinstance(digest, dict):
        yield from (f"{name}:{value}" for name, value in cast("Mapping[str, object]", digest).items())

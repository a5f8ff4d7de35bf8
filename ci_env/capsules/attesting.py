"""What a run has made, for its provenance: files of its artifacts, its record, its capsule. Reads blobs only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from ci_env.capsule.provenance import Subject
from ci_env.capsule.record import Record
from ci_env.digest import Digest
from ci_env.oci.tar import Archive
from ci_env.oci.verify import Reader
from ci_env.tree import decode_path

_PIECE = 2**20
_TOP = b"workspace/"
Open = Callable[[Digest], AbstractContextManager[Reader] | None]
"""opens a blob; None: it is gone"""


def subjects(record: Record, written: Digest, capsule: Digest | None, open_blob: Open) -> tuple[Subject, ...]:
    """Return the files of all artifacts and reports, then the record, `written` as it is, and the capsule's manifest.

    Artifacts that are gone, or not in the capsule, count as a whole: the digest of their archive is still known.
    """
    names = {} if capsule is None else {"capsule": capsule}
    kept = tuple(Subject(name, digest) for name, digest in ({"record.json": written} | names).items())
    return (*_artifacts(record, open_blob), *kept)


def _artifacts(record: Record, open_blob: Open) -> Iterator[Subject]:
    for job in record.jobs:
        for step in job.steps:
            if step.artifacts is None:
                continue
            place = f"{job.name}/{step.name}"
            opened = open_blob(step.artifacts)
            if opened is None:
                yield Subject(f"{place}.tar", step.artifacts)
                continue
            with opened as tar:
                yield from _files(tar, place)


def _files(tar: Reader, place: str) -> Iterator[Subject]:
    archive = Archive(iter(lambda: tar.read(_PIECE), b""))
    for member in archive:
        if member.kind != "file":
            continue
        content = hashlib.sha256()
        while piece := archive.read(_PIECE):
            content.update(piece)
        name = f"{place}/{decode_path(member.path.removeprefix(_TOP))}"
        yield Subject(name, Digest(f"sha256:{content.hexdigest()}"))

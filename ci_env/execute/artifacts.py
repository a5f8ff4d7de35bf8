"""Artifacts and reports of a step, kept as one tar whatever the step's exit status."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ci_env.digest import Digest
from ci_env.events import Note
from ci_env.execute.programs import collect as run_collect
from ci_env.execute.workbench import Workbench
from ci_env.plan.plan import Step

_PIECE = 1 << 20


def collect(bench: Workbench, staging: Path, lowers: Sequence[Digest], step: Step, *, where: str) -> Digest | None:
    """Keep what the step's patterns choose of the workspace that it has left in `staging` over `lowers`; None for none.

    A pattern that matches nothing gives a warning: what the step was to make it may have failed to make.
    """
    if not step.artifacts and not step.junit:
        return None
    output = staging.with_name(f"{staging.name}.tar")
    directories = [bench.layers.directory(layer) / "root" for layer in lowers]
    for pattern in run_collect(bench.runner, output, staging / "root", directories, step.artifacts, step.junit):
        bench.emit(Note("warning", f"{where}: no file matches the artifact {pattern!r}"))
    digest = _digest(output)
    bench.blobs.adopt(output, digest)
    return digest


def _digest(path: Path) -> Digest:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return Digest(f"sha256:{digest.hexdigest()}")

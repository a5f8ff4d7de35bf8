"""A step that copies files in place of running a process. Owns how it ends: as a process that says what went wrong."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from ci_env.digest import Digest
from ci_env.errors import Interrupted
from ci_env.execute import programs
from ci_env.oci.order import Order
from ci_env.plan.plan import FIXED_EPOCH, Copy
from ci_env.ports import Exit, Runner
from ci_env.store.layers import Layers


def copy_files(
    runner: Runner,
    layers: Layers,
    copy: Copy,
    origin: Sequence[Digest],
    seen: Sequence[Digest],
    staging: Path,
    output: Callable[[bytes], None],
) -> Exit:
    """Copy from the layers `origin`, all of them there, over the layers `seen` into the layer directory `staging`."""
    order = Order(
        origin=_roots(layers, origin),
        sources=copy.sources,
        files=copy.files,
        destination=copy.destination,
        chown=copy.chown,
        chmod=copy.chmod,
        is_unpacking=copy.is_unpacking,
        epoch=FIXED_EPOCH,
        upper=str(staging / "root"),
        lowers=_roots(layers, seen),
        squash_ids=not runner.is_owner_mapped(),
    )
    try:
        problem, lines = programs.copy(runner, order)
    except Interrupted:
        return Exit(code=None, signal=signal.SIGKILL, reason="cancelled")
    for line in lines:
        output(line.encode() + b"\n")
    return Exit(code=0 if problem is None else 1, signal=None, reason="exit")


def _roots(layers: Layers, stack: Sequence[Digest]) -> tuple[str, ...]:
    return tuple(str(layers.directory(layer) / "root") for layer in stack)

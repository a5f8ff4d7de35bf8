"""Which stage a name means, and what those without one are called. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ci_env.dockerfile.model import Stage

_NUMBER = re.compile(r"[0-9]{1,9}")


def find_stage(stages: Sequence[Stage], name: str) -> Stage | None:
    """Return the stage that `--from` or `--target` means, by its name in any case or by its number from 0."""
    if _NUMBER.fullmatch(name):
        return stages[int(name)] if int(name) < len(stages) else None
    return next((stage for stage in stages if stage.name == name.lower()), None)


def find_base(stages: Sequence[Stage], stage: Stage) -> Stage | None:
    """Return the earlier stage that `stage` begins as; None: its base is an image."""
    return next((other for other in stages[: stage.number] if other.name == stage.base.lower()), None)


def names_of(stages: Sequence[Stage]) -> tuple[str, ...]:
    """Return a name for each stage, which no other has: for one without, made of its number."""
    taken = {stage.name for stage in stages}
    names: list[str] = []
    for stage in stages:
        name = stage.name or f"stage-{stage.number}"
        while stage.name is None and name in taken:
            name += "_"
        taken.add(name)
        names.append(name)
    return tuple(names)

"""Which stage a name means. Pure."""

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

"""`ci-env prune`: remove from the store what has not been used for long. Says what goes, and how much that frees."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ci_env.store.prune import Limits
    from ci_env.store.survey import Item

_DAY_S = 86400
_OLDER = "14d"
_KEPT_RUNS = 20
_WORDS = {
    "run": ("run", "runs"),
    "layer": ("layer", "layers"),
    "blob": ("blob", "blobs"),
    "step": ("step result", "step results"),
    "image": ("image name", "image names"),
    "pipeline": ("parsed pipeline", "parsed pipelines"),
    "cache": ("cache", "caches"),
    "leftover": ("leftover", "leftovers"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    older = f"remove what has not been used for so long: 14d, 12h, 1h30m (default: {_OLDER})"
    kept = f"keep the N newest runs, and what they need, in any case (default: {_KEPT_RUNS})"
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument("--older", type=_age, metavar="AGE", default=_age(_OLDER), help=older)
    parser.add_argument("--max-size", type=_size, metavar="SIZE", help="then the oldest, until the store fits: 10GiB")
    parser.add_argument("--keep", type=_count, metavar="N", default=_KEPT_RUNS, help=kept)
    parser.add_argument("--all", action="store_true", help="remove all that no running command uses, runs too")
    parser.add_argument("--json", action="store_true", help="print what was removed as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Prune."""
    from ci_env.capsule.needs import all_needs
    from ci_env.capsule.record import RECORD_VERSION, Record
    from ci_env.cli.interrupt import interruptible
    from ci_env.cli.opened import opened
    from ci_env.store.measuring import measure
    from ci_env.store.prune import Pruning, choose
    from ci_env.store.runs import Runs
    from ci_env.store.survey import Surveyor

    limits = _limits(arguments)
    with interruptible(), opened() as everything:
        runs = Runs(everything.store, Record, version=RECORD_VERSION)
        surveyor = Surveyor(everything.store, runs, all_needs)
        survey = surveyor.survey(keep=limits.keep_runs)
        as_owner = everything.runner.as_owner
        sizes: Mapping[Path, int] = {}
        if limits.max_bytes is not None:
            sizes = measure(as_owner, [item.path for item in survey.items])
        chosen = choose(survey, limits, sizes)
        if limits.max_bytes is None:
            sizes = measure(as_owner, [item.path for item in chosen])
        pruning = Pruning(everything.store, everything.uses, everything.scratch, everything.layers.discard)
        removed = chosen if arguments.dry_run else pruning.carry_out(chosen, survey, surveyor, runs)
        _tell(removed, sizes, limits, is_dry_run=arguments.dry_run, as_json=arguments.json)
    return 0


def _limits(arguments: argparse.Namespace) -> Limits:
    from ci_env.store.prune import Limits

    if arguments.all:
        return Limits(math.inf, 0, arguments.max_size)
    return Limits(time.time() - arguments.older, arguments.keep, arguments.max_size)


def _tell(
    removed: Sequence[Item], sizes: Mapping[Path, int], limits: Limits, *, is_dry_run: bool, as_json: bool
) -> None:
    import json

    from ci_env.ui.sizes import size

    counts = Counter[str](item.kind for item in removed)
    freed = sum(sizes[item.path] for item in removed)
    runs = sorted(item.path.name for item in removed if item.kind == "run")
    if as_json:
        facts = {"dry_run": is_dry_run, "removed": {kind: counts[kind] for kind in _WORDS}, "runs": runs}
        sys.stdout.write(json.dumps(facts | {"freed_bytes": freed}) + "\n")
        return
    words = [f"{counts[kind]} {_WORDS[kind][counts[kind] != 1]}" for kind in _WORDS if counts[kind]]
    what = ", ".join(words) or "nothing"
    sys.stdout.writelines(f"{'would remove' if is_dry_run else 'removed'} run {run}\n" for run in runs)
    sys.stdout.write(f"{'would remove' if is_dry_run else 'removed'} {what}\n")
    sys.stdout.write(f"{'would free' if is_dry_run else 'freed'} {size(freed)}\n")
    left = sum(sizes.values()) - freed
    if limits.max_bytes is not None and left > limits.max_bytes:
        sys.stderr.write(f"the store still has {size(left)}: running commands or the {limits.keep_runs} newest runs ")
        sys.stderr.write("need it (--keep)\n")


def _age(text: str) -> int:
    from ci_env.pipeline.quantities import parse_duration

    days = text.removesuffix("d")
    if days != text and days.isdecimal() and days.isascii():
        return int(days) * _DAY_S
    return parse_duration(text)


def _size(text: str) -> int:
    from ci_env.pipeline.quantities import parse_size

    return parse_size(text)


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("at least 0")
    return number

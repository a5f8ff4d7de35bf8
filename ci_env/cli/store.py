"""`ci-env store`: look at the store as a whole. `check` verifies everything in it, and repairs by dropping."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ci_env.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ci_env.capsule.record import Record
    from ci_env.cli.opened import Opened
    from ci_env.digest import Digest
    from ci_env.store.check import Flaw, Report
    from ci_env.store.runs import Runs

_WIDTH = len("pipelines")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="check")
    what = "Verify blobs by their digests, and that layers, results and records are whole. Exit code 5 if not."
    check = actions.add_parser("check", help="verify everything in the store", description=what)
    check.add_argument("--repair", action="store_true", help="drop what is bad; what is needed is made again")
    deep = "read the layers of failed steps, too: they are the only ones whose digest is recorded"
    check.add_argument("--deep", action="store_true", help=deep)
    check.add_argument("--json", action="store_true", help="print what was found as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Check the store; an IntegrityError if something is bad and stays."""
    from ci_env.capsule.needs import all_needs
    from ci_env.capsule.record import RECORD_VERSION, Record
    from ci_env.cli.interrupt import interruptible
    from ci_env.cli.opened import opened
    from ci_env.store.check import Check
    from ci_env.store.runs import Runs

    with interruptible(), opened() as everything:
        runs = Runs(everything.store, Record, version=RECORD_VERSION)
        is_damaged = _damage(everything, runs) if arguments.deep else _unknown
        check = Check(everything.store, everything.layers, runs, all_needs)
        report = check.look(is_damaged=is_damaged, repair=arguments.repair)
    _print_json(report, repaired=arguments.repair) if arguments.json else _print(report, repaired=arguments.repair)
    if report.bad and not arguments.repair:
        count = f"{len(report.bad)} things are" if len(report.bad) > 1 else "one thing is"
        hint = "`ci-env store check --repair` drops what is damaged; what is needed is made again"
        raise IntegrityError(f"{count} damaged in the store {everything.store.root}", hint=hint)
    return 0


def _unknown(_: Digest) -> bool:
    return False


def _damage(opened: Opened, runs: Runs[Record]) -> Callable[[Digest], bool]:
    """Return whether a layer is not what the record of its step says, for those of which a record says something."""
    from ci_env.execute.programs import layer_digest

    trees = dict(_trees(runs))

    def is_damaged(layer: Digest) -> bool:
        return layer in trees and layer_digest(opened.runner, opened.layers.directory(layer)) != trees[layer]

    return is_damaged


def _trees(runs: Runs[Record]) -> Iterator[tuple[Digest, Digest]]:
    from ci_env.errors import CiEnvError

    for run in runs.ids():
        try:
            record = runs.load(run)
        except CiEnvError:  # the check of the runs says so
            continue
        for step in (step for job in record.jobs for step in job.steps):
            if step.tree is not None and step.after is not None:
                yield step.after[-1], step.tree


def _print(report: Report, *, repaired: bool) -> None:
    for kind, looked_at in report.looked_at.items():
        flaws = [flaw for flaw in report.flaws if flaw.kind == kind]
        bad = sum(flaw.is_bad for flaw in flaws)
        counts = [f"{looked_at - len(flaws)} good", *([f"{bad} bad"] if bad else [])]
        counts += [f"{len(flaws) - bad} incomplete"] if len(flaws) > bad else []
        sys.stdout.write(f"{kind:{_WIDTH}}  {', '.join(counts)}\n")
        sys.stdout.writelines(f"  {_word(flaw, repaired=repaired)}: {flaw.path}: {flaw.why}\n" for flaw in flaws)


def _print_json(report: Report, *, repaired: bool) -> None:
    import json

    flaws = [
        {"kind": flaw.kind, "path": str(flaw.path), "why": flaw.why, "state": _word(flaw, repaired=repaired)}
        for flaw in report.flaws
    ]
    sys.stdout.write(json.dumps({"looked_at": report.looked_at, "flaws": flaws}) + "\n")


def _word(flaw: Flaw, *, repaired: bool) -> str:
    if not flaw.is_bad:
        return "incomplete"
    return "dropped" if repaired else "bad"

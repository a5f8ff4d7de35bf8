"""`ci-env diff`: what differs between two runs, the likeliest explanation first."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from typing import TYPE_CHECKING

from ci_env.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ci_env.capsule.record import Record
    from ci_env.cli.opened import Opened
    from ci_env.replay.difference import Comparison, Difference
    from ci_env.ui.comparison import Row

EXIT_DIFFERENT = 1
"""as diff(1); nothing has run that could have failed"""
_SHOWN = 20
_PLACES = 4
_CONTEXT = 16
_WIDTH = 120
"""where stdout is no terminal"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    what = "run id, its beginning, `last`, `previous`, or a capsule"
    parser.add_argument("a", metavar="A", nargs="?", default="previous", help=f"{what} (default: previous)")
    parser.add_argument("b", metavar="B", nargs="?", default="last", help="likewise (default: last)")
    parser.add_argument("--json", action="store_true", help="print the differences as JSON")
    parser.epilog = "exit codes: 0 the runs are equal, 1 they differ"


def run(arguments: argparse.Namespace) -> int:
    """Compare; the exit code says whether there is a difference."""
    from ci_env.cli.interrupt import interruptible
    from ci_env.cli.opened import opened
    from ci_env.replay.diff import compare
    from ci_env.replay.looking import StoreLook

    with interruptible() as interruption, opened() as everything:
        one, other = _load(arguments.a, everything), _load(arguments.b, everything)
        look = StoreLook(everything.runner, everything.layers, everything.blobs)
        with interruption.during(everything.runner):
            found = compare(one, other, look)
        interruption.check()
    unknown = (*found.unknown, *dict.fromkeys(look.odd))
    if arguments.json:
        _print_json(one, other, found, unknown)
    else:
        _print(one, other, found)
        sys.stderr.writelines(f"not compared: {text}\n" for text in unknown)
    return EXIT_DIFFERENT if found.differences else 0


def _load(text: str, everything: Opened) -> Record:
    """Return the record of what the command line names."""
    from ci_env.cli.sourced import load
    from ci_env.cli.telling import tell

    return load(_previous(everything) if text == "previous" else text, everything, tell).record


def _previous(everything: Opened) -> str:
    from ci_env.capsule.record import RECORD_VERSION, Record
    from ci_env.store.runs import Runs

    ids = Runs(everything.store, Record, version=RECORD_VERSION).ids()
    if len(ids) < 2:
        raise ConfigError("there is no run before the last one", hint="`ci-env runs ls` lists what there is")
    return ids[1]


def _print_json(one: Record, other: Record, found: Comparison, unknown: tuple[str, ...]) -> None:
    import json

    from ci_env import codec

    facts = {
        "a": one.run_id,
        "b": other.run_id,
        "equal": not found.differences,
        "differences": [codec.encode(difference) for difference in found.differences],
        "unknown": list(unknown),
    }
    sys.stdout.write(json.dumps(facts, indent=2) + "\n")


def _print(one: Record, other: Record, found: Comparison) -> None:
    from ci_env.ui.comparison import table
    from ci_env.ui.runs import row

    for letter, record in (("A", one), ("B", other)):
        sys.stdout.write("  ".join((letter, *filter(None, row(record, record.status).split("  ")))) + "\n")
    if not found.differences:
        sys.stdout.write("nothing that is recorded of them differs\n")
        return
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size((_WIDTH, 24)).columns if is_terminal else _WIDTH
    is_coloured = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    rows = list(_rows(found))
    sys.stdout.write("\n")
    sys.stdout.writelines(f"{line}\n" for line in table(("A", "B"), rows, width=width, colour=is_coloured))


def _rows(found: Comparison) -> Iterator[Row]:
    from ci_env.ui.comparison import Row

    for difference in found.differences:
        items = difference.items[:_SHOWN]
        parts = tuple(
            (item.name if item.old or item.new else f"{item.how:8}{item.name}", item.old, item.new) for item in items
        )
        values = _apart(difference.old, difference.new)
        if difference.count:
            values = ("1 differs" if difference.count == 1 else f"{difference.count} differ", "")
        yield Row(difference.what, *values, _note(difference), parts, difference.count - len(items))


def _apart(old: str | None, new: str | None) -> tuple[str | None, str | None]:
    """Cut what two long values begin with alike, so that the difference is within sight."""
    if old is None or new is None:
        return old, new
    pairs = enumerate(zip(old, new, strict=False))
    same = next((place for place, (a, b) in pairs if a != b), min(len(old), len(new))) - _CONTEXT
    return (old, new) if same <= _CONTEXT else (f"…{old[same:]}", f"…{new[same:]}")


def _note(difference: Difference) -> str:
    places = difference.where
    more = f" and {len(places) - _PLACES} more" if len(places) > _PLACES else ""
    where = f"{', '.join(places[:_PLACES])}{more}: " if places else ""
    return f"{where}{difference.why}"

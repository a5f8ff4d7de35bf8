"""`ci-env runs`: what has been run. Lists, shows and removes records, and prints what steps wrote."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ci_env.cli.attest import add_arguments as add_attest_arguments
from ci_env.cli.attest import run as attest
from ci_env.cli.logs import add_arguments as add_log_arguments
from ci_env.cli.logs import run as run_logs
from ci_env.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ci_env.capsule.record import Record
    from ci_env.digest import Digest
    from ci_env.store.blobs import Blobs
    from ci_env.store.runs import Runs

_PIECE = 1 << 20


class _Log(NamedTuple):
    name: str
    full_name: str
    status: str
    output: Digest | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ls|show|logs|artifacts|attest|rm")
    listing = actions.add_parser("ls", help="list runs, newest first", description="List runs, newest first.")
    listing.add_argument("--json", action="store_true", help="one JSON object for each run")
    shown = actions.add_parser("show", help="show a run", description="Show a run's jobs and steps.")
    logs = actions.add_parser("logs", help="print what steps wrote", description="Print what the steps of a run wrote.")
    kept = actions.add_parser("artifacts", help="take out what steps left", description="Copy artifacts and reports.")
    attested = actions.add_parser(
        "attest",
        help="say what was made of what",
        description="Write a run as provenance, an in-toto statement; with a key, signed.",
    )
    removed = actions.add_parser("rm", help="remove records", description="Remove the records of runs.")
    add_log_arguments(logs)
    add_attest_arguments(attested)
    for action in (shown, kept):
        action.add_argument("run", metavar="RUN", nargs="?", default="last", help="run id, its beginning, or `last`")
    shown.add_argument("--json", action="store_true", help="print the whole record as JSON")
    kept.add_argument("directory", metavar="DIR", nargs="?", type=Path, help="new directory (default: artifacts-RUN)")
    removed.add_argument("runs", metavar="RUN", nargs="+", help="run id, or its beginning")


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked for."""
    from ci_env.capsule.record import RECORD_VERSION, Record
    from ci_env.cli.opened import this_store
    from ci_env.store.blobs import Blobs
    from ci_env.store.runs import Runs

    store = this_store()
    runs = Runs(store, Record, version=RECORD_VERSION)
    if arguments.action == "attest":
        return attest(arguments)
    if arguments.action == "ls":
        _list(runs, as_json=arguments.json)
    elif arguments.action == "show":
        _show(runs, runs.find(arguments.run), as_json=arguments.json)
    elif arguments.action == "logs":
        run_logs(arguments)
    elif arguments.action == "artifacts":
        _take_out(runs.load(runs.find(arguments.run)), Blobs(store), arguments.directory)
    else:
        _remove(runs, arguments.runs)
    return 0


def _list(runs: Runs[Record], *, as_json: bool) -> None:
    import json

    from ci_env.ui.runs import row

    ids = runs.ids()
    if not ids:
        sys.stderr.write("no runs yet: `ci-env run` makes one\n")
    for run_id in ids:
        record = runs.load(run_id)
        is_interrupted = record.status == "running" and not runs.is_running(run_id)
        status = "interrupted" if is_interrupted else record.status
        if as_json:
            facts = {"run": run_id, "status": status, "started_at": record.started_at, "file": record.file}
            sys.stdout.write(json.dumps(facts | {"duration_ms": record.duration_ms}) + "\n")
        else:
            sys.stdout.write(row(record, status) + "\n")


def _show(runs: Runs[Record], run_id: str, *, as_json: bool) -> None:
    import json

    from ci_env import codec
    from ci_env.ui.runs import details

    record = runs.load(run_id)
    if as_json:
        sys.stdout.write(json.dumps(codec.encode(record), indent=2) + "\n")
        return
    is_interrupted = record.status == "running" and not runs.is_running(run_id)
    sys.stdout.writelines(line + "\n" for line in details(record, "interrupted" if is_interrupted else record.status))


def print_logs(record: Record, blobs: Blobs, name: str | None) -> None:
    """Print what steps and services wrote, all or those of that name. ConfigError where there are none."""
    wanted = [log for log in _logs(record) if name is None or name in (log.name, log.full_name)]
    if not wanted and name is None:
        raise ConfigError(f"run {record.run_id} ended before a step did ({record.status}): there are no logs")
    if not wanted:
        known = ", ".join(log.full_name for log in _logs(record)) or "none"
        raise ConfigError(f"run {record.run_id} has no step {name!r}", hint=f"its steps: {known}")
    for log in wanted:
        if log.output is None:
            continue
        if len(wanted) > 1:
            sys.stdout.write(f"=== {log.full_name}: {log.status}\n")
            sys.stdout.flush()
        with blobs.open(log.output) as file:
            while piece := file.read(_PIECE):
                sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def _logs(record: Record) -> Iterator[_Log]:
    """Yield all logs of a run, those of services after the steps of their job."""
    for job in record.jobs:
        for step in job.steps:
            yield _Log(step.name, f"{job.name}/{step.name}", step.status, step.output)
        for service in job.services:
            name = f"service:{service.name}"
            yield _Log(name, f"{job.name}/{name}", service.status, service.output)


def _take_out(record: Record, blobs: Blobs, directory: Path | None) -> None:
    """Copy the artifacts of each step to DIR/JOB/STEP."""
    from ci_env.execute.extract import extract
    from ci_env.ui.clean import clean

    top = directory or Path(f"artifacts-{record.run_id}")
    left = [(job.name, step.name, step.artifacts) for job in record.jobs for step in job.steps if step.artifacts]
    if not left:
        raise ConfigError(f"run {record.run_id} has no artifacts", hint="steps declare them: `artifacts:`, `reports:`")
    if os.path.lexists(top):
        raise ConfigError(f"{top} is there already", hint="name a new directory")
    for job, step, artifacts in left:
        destination = top / job.replace("/", "_") / step.replace("/", "_")
        destination.parent.mkdir(parents=True, exist_ok=True)
        with blobs.open(artifacts) as tar:
            for path in extract(tar, destination):
                sys.stdout.write(clean(str(destination / path)) + "\n")


def _remove(runs: Runs[Record], names: list[str]) -> None:
    for run_id in dict.fromkeys(runs.find(name) for name in names):
        runs.remove(run_id)
        sys.stdout.write(f"{run_id}: removed\n")

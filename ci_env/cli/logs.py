"""`ci-env logs`, also as `ci-env runs logs`: print what steps wrote, of an ended run or as it comes."""

from __future__ import annotations

import argparse

from ci_env.errors import ConfigError

_STEP = "STEP or JOB/STEP; once the job has ended also JOB/service:NAME (default: all)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("run", metavar="RUN", nargs="?", default="last", help="run id, its beginning, or `last`")
    parser.add_argument("step", metavar="STEP", nargs="?", help=_STEP)
    parser.add_argument("--step", metavar="NAME", dest="named", help="the same")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes, until the run ends")


def run(arguments: argparse.Namespace) -> int:
    """Print."""
    from ci_env.capsule.record import RECORD_VERSION, Record
    from ci_env.cli.opened import this_store
    from ci_env.cli.runs import print_logs
    from ci_env.store.blobs import Blobs
    from ci_env.store.runs import Runs

    store = this_store()
    runs = Runs(store, Record, version=RECORD_VERSION)
    run_id = runs.find(arguments.run)
    name = arguments.step or arguments.named
    if arguments.follow and runs.is_running(run_id):
        from ci_env.cli.follow import follow

        follow(runs, store.runs / run_id, Blobs(store), name)
        return 0
    record = runs.load(run_id)
    if not record.jobs and runs.is_running(run_id):
        hint = f"follow what runs now:\n$ ci-env logs -f {run_id}"
        raise ConfigError(f"run {run_id}: no job has ended yet", hint=hint)
    print_logs(record, Blobs(store), name)
    return 0

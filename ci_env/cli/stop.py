"""`ci-env stop`: end a run, as SIGTERM does, and wait until it has ended."""

from __future__ import annotations

import argparse
import select
import sys

from ci_env.cli.going import Going, add_run
from ci_env.live.messages import Request


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_run(parser)
    parser.add_argument(
        "--now", action="store_true", help="kill its steps; without it they have 10 s to end by themselves"
    )


def run(arguments: argparse.Namespace) -> int:
    """Stop, wait, and say how the run has ended."""
    going = Going()
    run_id = going.find(arguments.run)
    answer, ended = going.ask(run_id, Request("kill" if arguments.now else "stop"))
    if not answer.is_done:
        sys.stderr.write(f"run {run_id} {answer.message}\n")
    if ended is not None:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.poll()
    status = going.runs.load(run_id).status
    sys.stdout.write(f"run {run_id}: {'interrupted' if status == 'running' else status}\n")
    return 0

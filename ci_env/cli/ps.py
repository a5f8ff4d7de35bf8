"""`ci-env ps`: the runs that go on, and the steps that they are at."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ci_env.cli.going import Going
    from ci_env.live.messages import State


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--json", action="store_true", help="one JSON object for each run")


def run(arguments: argparse.Namespace) -> int:
    """List them; there may be none."""
    import json

    from ci_env.cli.going import Going
    from ci_env.ui.going import facts, rows

    going = Going()
    seen = [(going.runs.load(run_id), _look(going, run_id)) for run_id in going.ids()]
    if arguments.json:
        for record, state in seen:
            sys.stdout.write(json.dumps(facts(record, state)) + "\n")
    elif seen:
        sys.stdout.writelines(line + "\n" for line in rows(seen, now_s=int(time.time())))
    else:
        sys.stderr.write("no run goes on\n")
    return 0


def _look(going: Going, run_id: str) -> State | None:
    """Return what a run says of itself; None where it says nothing, as before its first step."""
    from ci_env.errors import HostError
    from ci_env.live.knock import knock
    from ci_env.live.messages import Request

    try:
        found = knock(going.directory(run_id), Request("look"))
    except HostError as error:
        sys.stderr.write(f"warning: {error.message}\n")
        return None
    return found[0].state if found else None

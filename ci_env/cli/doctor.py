"""`ci-env doctor`: what can this host do, what does the lack of something cost, and how is it had?"""

from __future__ import annotations

import argparse
import os
import sys

from ci_env.errors import HostError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--json", action="store_true", help="print a JSON array, one object for each ability")


def run(arguments: argparse.Namespace) -> int:
    """Print the abilities; end with 3 where one is missing without which no step can run."""
    import shutil

    from ci_env import codec
    from ci_env.cli.wiring import runner_factory
    from ci_env.store.home import locate
    from ci_env.ui.doctor import can_run, render

    abilities = runner_factory().abilities(locate(os.environ, os.geteuid()))
    if arguments.json:
        sys.stdout.write(codec.dumps(abilities).decode() + "\n")
    else:
        sys.stdout.writelines(line + "\n" for line in render(abilities, shutil.get_terminal_size().columns))
    return 0 if can_run(abilities) else HostError.exit_code

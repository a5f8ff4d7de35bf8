"""`ci-env pause`: have a run stand still."""

from __future__ import annotations

import argparse

from ci_env.cli.going import add_run, order
from ci_env.live.messages import Request


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_run(parser)
    parser.epilog = "Its steps stand still until `ci-env resume`, time limits too, and no other step begins."


def run(arguments: argparse.Namespace) -> int:
    """Pause; a run that is paused stays so."""
    return order(arguments.run, Request("pause"))

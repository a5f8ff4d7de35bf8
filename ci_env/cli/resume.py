"""`ci-env resume`: have a paused run go on."""

from __future__ import annotations

import argparse

from ci_env.cli.going import add_run, order
from ci_env.live.messages import Request


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_run(parser)


def run(arguments: argparse.Namespace) -> int:
    """Resume; a run that is not paused goes on."""
    return order(arguments.run, Request("resume"))

"""`--platform`: what images are to be for, and whether this machine can run that. Shared by all that resolve images."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ci_env.resolve.machine import this_machine

if TYPE_CHECKING:
    from ci_env.oci.platform import Platform


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--platform`; without it, an image is to be for this machine."""
    parser.add_argument(
        "--platform",
        type=_parsed,
        metavar="OS/ARCH[/VARIANT]",
        help="what images are to be for (default: this machine)",
    )


def check_can_run(name: str) -> None:
    """Raise HostError unless programs of the platform called `name`, as a plan has it, run on this machine."""
    from ci_env.oci import emulation
    from ci_env.oci.platform import parse

    emulation.check_can_run(parse(name), this_machine())


def _parsed(text: str) -> Platform:
    from ci_env.oci.platform import canonical, parse

    try:
        return canonical(parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error

"""`ci-env schema`: the rules of the pipeline file, for editors."""

from __future__ import annotations

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments: none."""
    parser.epilog = "In an editor with yaml-language-server: # yaml-language-server: $schema=FILE"


def run(arguments: argparse.Namespace) -> int:  # noqa: ARG001  # every verb has them
    """Print the JSON schema."""
    from ci_env.pipeline.json_schema import render_schema

    sys.stdout.write(render_schema())
    return 0

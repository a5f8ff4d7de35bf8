"""`ci-env validate`: is the pipeline file right?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ci_env.cli import pipeline_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    default = Path(pipeline_file.DEFAULT)
    parser.add_argument("file", metavar="FILE", nargs="?", type=Path, default=default, help=f"default: {default}")


def run(arguments: argparse.Namespace) -> int:
    """Check the file and say what is in it. ConfigError tells what is wrong."""
    file: Path = arguments.file
    pipeline = pipeline_file.load(pipeline_file.read(file), str(file))
    jobs, steps = len(pipeline.jobs), sum(len(job.steps) for job in pipeline.jobs)
    sys.stdout.write(f"{file}: valid: {_count(jobs, 'job')}, {_count(steps, 'step')}\n")
    return 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

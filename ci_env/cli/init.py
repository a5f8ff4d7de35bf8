"""`ci-env init`: a first pipeline file that fits the project."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ci_env.cli.pipeline_file import DEFAULT
from ci_env.errors import ConfigError, HostError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--force", action="store_true", help=f"overwrite {DEFAULT}")


def run(arguments: argparse.Namespace) -> int:
    """Write the file to the current directory. ConfigError where there is one and `--force` was not given."""
    from ci_env.cli.starter.jobs import find_jobs
    from ci_env.cli.starter.render import render

    directory = Path.cwd()
    jobs = find_jobs(directory)
    _write(directory / DEFAULT, render(jobs, _below_repository(directory)), force=bool(arguments.force))
    found = ", ".join(job.name for job in jobs)
    what = f"for what is here ({found})" if found else "an example, as nothing here is known to it"
    sys.stdout.write(f"{DEFAULT}: written, {what}; now: ci-env run\n")
    return 0


def _below_repository(directory: Path) -> str:
    """Return where `directory` lies in its git work tree, which inputs are relative to; empty at the top or outside."""
    for parent in (directory, *directory.parents):
        if (parent / ".git").exists():
            path = directory.relative_to(parent)
            return "" if parent == directory else str(path)
    return ""


def _write(path: Path, text: str, *, force: bool) -> None:
    from ci_env.files import atomic_write

    if not force and (path.exists() or path.is_symlink()):
        raise ConfigError(f"there is already a file {path.name}", hint="`ci-env init --force` overwrites it")
    try:
        atomic_write(path, text.encode(), mode=0o644)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}", hint="make the directory writable") from error

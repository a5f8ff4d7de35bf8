"""`ci-env run`: compile the pipeline, execute the plan, record the run."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.cli.kept import add_argument as add_capsule
from ci_env.cli.pipeline_file import DEFAULT
from ci_env.cli.platform import add_argument as add_platform
from ci_env.cli.platform import check_can_run
from ci_env.cli.secrets import add_arguments as add_secrets
from ci_env.cli.secrets import given
from ci_env.errors import EXIT_STEP_FAILED, ConfigError

if TYPE_CHECKING:
    from ci_env.cli.compiled import Request
    from ci_env.cli.interrupt import Interruption
    from ci_env.cli.opened import Opened
    from ci_env.events import Emit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("jobs", metavar="JOB", nargs="*", help="run these jobs and those they need (default: all)")
    parser.add_argument("-f", "--file", type=Path, default=Path(DEFAULT), help=f"pipeline file (default: {DEFAULT})")
    parser.add_argument("--image", help="use this image for all jobs")
    add_platform(parser)
    parser.add_argument("--no-cache", action="store_true", help="run every step, whatever earlier runs have left")
    parser.add_argument("--offline", action="store_true", help="ask no registry; images must be in the store")
    parser.add_argument("--pull", action="store_true", help="ask registries what tags mean now")
    parser.add_argument("--locked", action="store_true", help="run only images that the lockfile has (ci-env lock)")
    parser.add_argument("-j", "--parallel", type=_count, metavar="N", help="jobs at a time (default: processors)")
    add_secrets(parser)
    add_capsule(parser)
    parser.add_argument("--plan", action="store_true", help="print the plan as JSON, and run nothing")
    formats = ("auto", "rich", "plain", "json")
    parser.add_argument("--format", choices=formats, default="auto", help="how to show the run (default: auto)")


def run(arguments: argparse.Namespace) -> int:
    """Run the pipeline; 1 where a step has failed."""
    from ci_env.cli.compiled import Request, compile_request
    from ci_env.cli.interrupt import interruptible
    from ci_env.cli.opened import opened
    from ci_env.cli.recorded import Work, run_recorded
    from ci_env.cli.service import hide_in_service, in_service
    from ci_env.ui.view import choose

    if arguments.pull and arguments.offline:
        raise ConfigError("--pull asks registries, which --offline forbids", hint="leave one of them out")
    if arguments.pull and arguments.locked:
        raise ConfigError("--pull asks what tags mean now, which --locked does not want to know", hint="leave one out")
    request = Request(
        Path(arguments.file),
        tuple(arguments.jobs),
        arguments.image,
        is_offline=arguments.offline,
        is_renewed=arguments.pull,
        is_locked=arguments.locked,
        platform=arguments.platform,
        secrets=None if arguments.plan else given(arguments),
    )
    if arguments.platform is not None and not arguments.plan:
        check_can_run(str(arguments.platform))
    view = choose(arguments.format, stdout=sys.stdout, stderr=sys.stderr, env=os.environ)
    with interruptible() as interruption, opened() as everything, view as emit:
        if arguments.plan:
            return _print_plan(request, everything, emit, interruption)
        emit, context = in_service(emit, arguments.format)
        compiled = compile_request(request, everything, emit, interruption)
        parallel = arguments.parallel or len(os.sched_getaffinity(0))
        is_caching = not arguments.no_cache
        hide_in_service(compiled.secrets.values(), arguments.format)
        work = Work(compiled.plan, compiled.file, compiled.project, compiled.sources.have, compiled.secrets)
        record = run_recorded(
            work,
            everything,
            emit,
            interruption,
            context=context,
            parallel=parallel,
            is_caching=is_caching,
            capsule=arguments.capsule,
        )
    interruption.check()
    return EXIT_STEP_FAILED if record.status == "failed" else 0


def _print_plan(request: Request, opened: Opened, emit: Emit, interruption: Interruption) -> int:
    import json

    from ci_env import codec
    from ci_env.cli.compiled import compile_request

    plan = compile_request(request, opened, emit, interruption).plan
    sys.stdout.write(json.dumps(codec.encode(plan), indent=2) + "\n")
    return 0


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, found {text!r}")
    return int(text)

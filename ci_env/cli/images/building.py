"""`ci-env image build`: an image from a Dockerfile."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ci_env.cli.built import Named, Way, build_image, dockerfile_of, named_by
from ci_env.cli.interrupt import interruptible
from ci_env.cli.opened import Opened, opened
from ci_env.cli.service import in_service
from ci_env.errors import EXIT_STEP_FAILED, ConfigError
from ci_env.events import Emit, Note
from ci_env.oci.reference import parse
from ci_env.pipeline.image import ImageName, parse_image
from ci_env.resolve.dockerfile import BuildRequest, plan_build
from ci_env.resolve.images import ImageResolver, Wanted
from ci_env.ui.view import choose


def run(arguments: argparse.Namespace) -> int:
    """Build an image, and say what its digest is; 1 where a step has failed. Or only explain what would be done."""
    context = Path(arguments.context)
    file = Path(arguments.file) if arguments.file is not None else dockerfile_of(context)
    given = {name: value for name, value in arguments.build_arg if value is not None}
    request = BuildRequest(file, context, arguments.target, given, arguments.network)
    named = _named(arguments.tag, file)
    view = choose(arguments.format, stdout=sys.stdout, stderr=sys.stderr, env=os.environ)
    with interruptible() as interruption, opened() as everything, view as emit:
        emit, ci = in_service(emit, arguments.format)
        wanted = Wanted(Path.cwd(), is_offline=arguments.offline, is_renewed=arguments.pull)
        resolver = everything.resolver(wanted, arguments.platform, emit)
        if arguments.explain:
            _explain(request, everything, resolver, emit)
            return 0
        way = Way(
            is_caching=not arguments.no_cache,
            parallel=len(os.sched_getaffinity(0)),
            ci=ci,
        )
        result = build_image(request, named, everything, resolver, emit, interruption, way)
        if result is not None and arguments.format == "json":
            emit(Note("info", f"{result.reference}  {result.manifest}"))
    if result is None:
        return EXIT_STEP_FAILED
    if arguments.format != "json":
        sys.stdout.write(f"{result.reference}  {result.manifest}\n")
    return 0


def _explain(request: BuildRequest, opened: Opened, resolver: ImageResolver, emit: Emit) -> None:
    """Print what each step of the build would do, and why."""
    from ci_env.cli.asking import in_build
    from ci_env.store.steps import Steps

    build = plan_build(request, resolver, opened.layers, opened.blobs, emit, left_out=opened.store.root)
    asking = in_build(build, opened.layers, Steps(opened.store))
    sys.stdout.writelines(f"{line}\n" for job, step in asking.steps() for line in asking.explain(job, step))


def _named(tag: str | None, file: Path) -> Named:
    """Return the image's name: the one that was given, or that of its file."""
    if tag is None:
        return named_by(file)
    try:
        if parse_image(tag).kind != "registry" or parse(tag).digest is not None:
            raise ValueError(tag)
    except ValueError as error:
        raise ConfigError(
            f"{tag!r} is no name for an image", hint="give it one as in a registry, such as app:1"
        ) from error
    return Named(tag, ImageName("registry", tag, None))

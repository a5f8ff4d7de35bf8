"""A build of an image as a recorded run, and the image that comes of it. Shared by all that build."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ci_env.capsule.left import layers_left
from ci_env.capsule.record import Record
from ci_env.cli.interrupt import Interruption
from ci_env.cli.opened import Opened
from ci_env.cli.recorded import Work, run_recorded
from ci_env.errors import BuildFailed, ConfigError
from ci_env.events import Emit
from ci_env.frozen import dataclass, replace
from ci_env.oci.assemble import Built
from ci_env.pipeline.image import ImageName, parse_image
from ci_env.plan.inputs import ResolvedImage
from ci_env.plan.plan import FIXED_EPOCH
from ci_env.resolve.built import PlainLayers, keep
from ci_env.resolve.dockerfile import Build, BuildRequest, plan_build
from ci_env.resolve.images import ImageResolver, now, resolved, told_where
from ci_env.store.images import ImageResult, Images, Made

_EPOCH = "SOURCE_DATE_EPOCH"


@dataclass(frozen=True, slots=True)
class Named:
    """What an image is called."""

    reference: str
    """for people, and as pipelines write it"""
    place: ImageName


@dataclass(frozen=True, slots=True)
class Way:
    """How a build is executed."""

    is_caching: bool
    parallel: int
    ci: Mapping[str, str]
    """what a CI service says of the run"""
    before: Callable[[Build], None] | None = None
    """is given what is about to be done"""


def build_image(
    request: BuildRequest,
    named: Named,
    opened: Opened,
    resolver: ImageResolver,
    emit: Emit,
    interruption: Interruption,
    way: Way,
) -> ImageResult | None:
    """Build an image and keep it in the store by its name; None where a step has failed, which was told."""
    created = _created()
    build = plan_build(request, resolver, opened.layers, opened.blobs, emit, left_out=opened.store.root)
    if way.before is not None:
        way.before(build)
    work = Work(build.plan, str(request.file), build.project, build.context.have)
    record = run_recorded(
        work, opened, emit, interruption, context=way.ci, parallel=way.parallel, is_caching=way.is_caching
    )
    interruption.check()
    if record.status != "passed":
        return None
    result = _keep(build, record, named, created, opened, resolver, emit)
    if named.place.kind == "registry":
        result = replace(result, made=Made("built", now(), _again(request, named)))
    resolver.keep(result, named.place)
    return result


def build_for(
    text: str,
    at: str,
    top: Path,
    opened: Opened,
    resolver: ImageResolver,
    emit: Emit,
    interruption: Interruption,
    before: Callable[[Build], None] | None,
) -> ResolvedImage:
    """Build the image that a pipeline file below `top` names `text`, with the cache; BuildFailed where that fails."""
    file = top / parse_image(text).place
    request = BuildRequest(file, file.parent, None, {}, "host")
    way = Way(is_caching=True, parallel=len(os.sched_getaffinity(0)), ci={}, before=before)
    with told_where(text, at):
        result = build_image(request, named_by(file), opened, resolver, emit, interruption, way)
    if result is None:
        raise BuildFailed(f"{at}: the image {text!r} could not be built", hint="`ci-env replay` runs its step again")
    return resolved(text, result)


def _keep(
    build: Build,
    record: Record,
    named: Named,
    created: str,
    opened: Opened,
    resolver: ImageResolver,
    emit: Emit,
) -> ImageResult:
    chain = layers_left(record, build.target)
    assert chain is not None, "the run has passed"
    own = chain[build.base_layers :]
    plain = PlainLayers(opened.layers, opened.blobs, Images(opened.store), opened.runner.as_owner, emit)
    built = Built(plain.describe(own), build.config, build.author, build.history, resolver.platform, created)
    return keep(build.base, built, chain, opened.layers, reference=named.reference)


def _again(request: BuildRequest, named: Named) -> str:
    """Return the command that builds the image again; what arguments were given may be nobody else's business."""
    parts = ["ci-env", "image", "build", "-t", named.reference, "-f", str(request.file.absolute())]
    parts += ["--target", request.target] if request.target is not None else []
    parts += [part for name in request.args for part in ("--build-arg", f"{name}=...")]
    return shlex.join((*parts, str(request.context.absolute())))


def _created() -> str:
    """Return the time that images say they were made at: a fixed one, so that the same build gives the same image."""
    text = os.environ.get(_EPOCH) or str(FIXED_EPOCH)
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(text)))
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError(f"{_EPOCH} is {text!r}, which is no time in seconds since 1970") from error


def named_by(file: Path) -> Named:
    """Return what an image without a name is called: as its file, in full, so that projects do not share it."""
    place = str(file.absolute())
    return Named(f"dockerfile:{place}", ImageName("dockerfile", place, None))


def dockerfile_of(context: Path) -> Path:
    """Return the file that builds what is in a directory, if none is named."""
    return context / "Dockerfile"

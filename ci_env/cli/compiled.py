"""From a pipeline file to a Plan: the part of a run that touches the world, once. Shared by all that need a plan."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env import source
from ci_env.cli import pipeline_file
from ci_env.cli.entry_points import version
from ci_env.cli.interrupt import Interruption
from ci_env.cli.opened import Opened
from ci_env.cli.secrets import Declared, Given, gather, warn_of_written
from ci_env.digest import Digest, key
from ci_env.errors import ConfigError
from ci_env.events import Emit
from ci_env.execute.secrets import NO_SECRETS, Secrets
from ci_env.frozen import dataclass, replace
from ci_env.oci.platform import Platform
from ci_env.pipeline.model import Job, Pipeline
from ci_env.plan.compile import choose_jobs, compile_plan, named_images
from ci_env.plan.inputs import Inputs, ResolvedImage
from ci_env.plan.plan import Plan
from ci_env.resolve.images import ImageResolver, Wanted
from ci_env.resolve.source import SourceLayers
from ci_env.store.pipelines import Pipelines, pipeline_key

if TYPE_CHECKING:
    from ci_env.resolve.dockerfile import Build

    BeforeBuild = Callable[[str, Build], None]

_IMAGE = "--image"
_DOCKERFILE = "dockerfile:"


@dataclass(frozen=True, slots=True)
class Request:
    """What of which pipeline is asked for."""

    file: Path
    jobs: tuple[str, ...]
    image: str | None
    """in place of every job's image"""
    is_offline: bool
    is_renewed: bool
    is_locked: bool = False
    """only what the lockfile says may run"""
    platform: Platform | None = None
    """of all images; None: this machine's"""
    secrets: Given | None = None
    """values, as the command line has them; None: nothing is to run"""


@dataclass(frozen=True, slots=True)
class Compiled:
    plan: Plan
    file: str
    """the pipeline file's path in the source"""
    project: Digest
    root: source.Root
    sources: SourceLayers
    secrets: Secrets


def compile_request(
    request: Request,
    opened: Opened,
    emit: Emit,
    interruption: Interruption,
    *,
    before_build: BeforeBuild | None = None,
) -> Compiled:
    """Return the plan that `request` asks for. Everything that decides the result has been looked at then.

    Images that are to be built have been built: BuildFailed where a step of one has failed. `before_build` is given
    the name of each, and what is about to be done.
    """
    pipeline = _with_image(_load(request.file, opened), request.image)
    jobs = choose_jobs(pipeline, request.jobs)
    secrets = _secrets(request, jobs, emit)
    root = source.find(request.file.absolute().parent, _fallback(request.file))
    snapshot = source.snapshot(root, opened.scratch / "source", emit, left_out=opened.store.root)
    sources = SourceLayers(snapshot, opened.layers, emit)
    project = key("project", {"path": os.fsencode(root.path).hex()})
    wanted = Wanted(request.file.absolute().parent, is_offline=request.is_offline, is_renewed=request.is_renewed)
    resolver = opened.resolver(wanted, request.platform, emit)
    selections = sources.select(jobs)
    images = _resolve(request, jobs, resolver, opened, emit, interruption, before_build)
    plan = compile_plan(pipeline, Inputs(snapshot.source, images, selections, project), request.jobs)
    warn_of_written(plan, secrets, emit)
    return Compiled(plan, _path_in(root.path, request.file), project, root, sources, secrets)


def _secrets(request: Request, jobs: Sequence[Job], emit: Emit) -> Secrets:
    if request.secrets is None:
        return NO_SECRETS
    wanted = (Declared(secret, f"{job.at}: the job {job.name!r}") for job in jobs for secret in job.secrets)
    return gather(request.secrets, wanted, emit)


def _resolve(
    request: Request,
    jobs: Sequence[Job],
    resolver: ImageResolver,
    opened: Opened,
    emit: Emit,
    interruption: Interruption,
    before_build: BeforeBuild | None,
) -> Mapping[str, ResolvedImage]:
    """Return the image of each name in `jobs`: built, or as the lockfile says, where there is one or must be."""
    named = dict(named_images(jobs))
    files = {image: named.pop(image) for image in tuple(named) if image.startswith(_DOCKERFILE)}
    if not files:
        return _find(request, named, resolver, emit)
    from ci_env.cli.built import build_for

    if request.is_locked:
        image, at = next(iter(files.items()))
        message = (
            f"{at}: the image {image!r} is built from others, which no lockfile holds, and --locked runs nothing else"
        )
        raise ConfigError(message, hint="build and push it, and name it by its digest")
    found = _find(request, named, resolver, emit)
    top = request.file.parent
    built: dict[str, ResolvedImage] = {}
    for image, at in files.items():
        before = before_build and partial(before_build, image)
        built[image] = build_for(image, at, top, opened, resolver, emit, interruption, before)
    return {**found, **built}


def _find(
    request: Request, named: Mapping[str, str], resolver: ImageResolver, emit: Emit
) -> Mapping[str, ResolvedImage]:
    """Return the images that are not built; `named` says where the pipeline file names each."""
    place = pipeline_file.lockfile_of(request.file)
    if not request.is_locked and not os.path.lexists(place):
        return {image: resolver.resolve(image, at=at) for image, at in named.items()}
    from ci_env.resolve.locked import LockedImages

    locked = LockedImages(place, resolver, emit)
    if request.is_locked:
        locked.require(named)
    return {image: locked.resolve(image, at=at) for image, at in named.items()}


def _load(file: Path, opened: Opened) -> Pipeline:
    """Return the pipeline in `file`; one that was understood before is not read again."""
    content = pipeline_file.read(file)
    pipelines = Pipelines(opened.store)
    place = pipeline_key(content, file=str(file), version=version("ci-env"))
    pipeline = pipelines.load(place)
    if pipeline is None:
        pipeline = pipeline_file.load(content, str(file))
        pipelines.save(place, pipeline)
    return pipeline


def _with_image(pipeline: Pipeline, image: str | None) -> Pipeline:
    if image is None:
        return pipeline
    pipeline_file.check_image(image, at=_IMAGE)
    return Pipeline(tuple(replace(job, image=image, at=_IMAGE) for job in pipeline.jobs))


def _fallback(file: Path) -> Path:
    """Return the source where there is no git: the current directory, if the file lies below it."""
    here = Path.cwd()
    return here if file.absolute().parent.resolve().is_relative_to(here.resolve()) else file.absolute().parent


def _path_in(root: Path, file: Path) -> str:
    resolved = file.resolve()
    return str(resolved.relative_to(root)) if resolved.is_relative_to(root) else file.name

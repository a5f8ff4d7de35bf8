"""A Dockerfile to the plan of its build. Reads the file, its context and its base images, once, and runs nothing.

Only the stages that the target needs are looked at, and only their images are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from ci_env.digest import Digest, Json, key
from ci_env.dockerfile import model
from ci_env.dockerfile.arguments import unused_arguments, with_arguments
from ci_env.dockerfile.evaluate import evaluate
from ci_env.dockerfile.ignore import Ignore
from ci_env.dockerfile.image_config import base_of, scratch
from ci_env.dockerfile.parse import parse
from ci_env.dockerfile.stages import find_base, find_stage, names_of
from ci_env.errors import ConfigError, HostError
from ci_env.events import Emit, Note
from ci_env.frozen import dataclass
from ci_env.oci.assemble import Base
from ci_env.oci.document import parse_json
from ci_env.oci.emulation import check_can_run
from ci_env.oci.platform import Platform, canonical
from ci_env.oci.platform import parse as parse_platform
from ci_env.pipeline.image import parse_image
from ci_env.pipeline.model import Network
from ci_env.plan.build import Origin, Stage, Surroundings, compile_build
from ci_env.plan.plan import FIXED_EPOCH, Image, Plan, Source
from ci_env.resolve.built import documents
from ci_env.resolve.context import Context
from ci_env.resolve.images import ImageResolver
from ci_env.resolve.machine import this_machine
from ci_env.store.blobs import Blobs
from ci_env.store.layers import Layers

SCRATCH = "scratch"
_MAX_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What is to be built."""

    file: Path
    context: Path
    target: str | None
    """the name or number of a stage; None: the last"""
    args: Mapping[str, str]
    network: Network
    """of a RUN that says nothing about it"""


@dataclass(frozen=True, slots=True)
class Build:
    """How to build it, and what then makes an image of the layers that the target's job leaves."""

    plan: Plan
    target: str
    """the name of its job"""
    base: Base | None
    """documents of the image that the target stands on; None: it is `scratch`"""
    base_layers: int
    """how many of the layers are that image's"""
    config: Mapping[str, Json]
    author: str | None
    history: tuple[tuple[str, bool], ...]
    context: Context
    project: Digest


@dataclass(frozen=True, slots=True)
class _Known:
    """A stage that has been looked at."""

    stage: Stage
    base: Base | None
    platform: Platform
    evaluated: model.Evaluated
    history: tuple[tuple[str, bool], ...]
    """its own, and that of the stages it begins with"""


def plan_build(
    request: BuildRequest, resolver: ImageResolver, layers: Layers, blobs: Blobs, emit: Emit, *, left_out: Path
) -> Build:
    """Return how to build what is asked for; the context is without what lies in `left_out`."""
    text = _read(request.file)
    written = parse(text, file=str(request.file))
    machine = this_machine()
    dockerfile, arguments = with_arguments(written, request.args, target=resolver.platform, build=machine)
    if not request.context.is_dir():
        raise ConfigError(f"the build's context {request.context} is no directory")
    context = Context(request.context, _ignoring(request), layers, emit, left_out=left_out)
    stages = _Stages(dockerfile.stages, request.args, arguments, context, resolver, blobs)
    target = stages.add_target(_target(dockerfile.stages, request))
    for name in unused_arguments(written, request.args, (one.evaluated for one in stages.known.values())):
        emit(Note("warning", f"no ARG declares the build argument {name!r}"))
    project = key("project", {"path": str(request.context.resolve()).encode("utf-8", "surrogateescape").hex()})
    known = tuple(stages.known.values())
    tree = key("build", {"dockerfile": Digest.of(text.encode()), "context": list(context.chosen())})
    source = Source("directory", tree, None, dirty=False, epoch=FIXED_EPOCH)
    plan = compile_build(tuple(one.stage for one in known), source, Surroundings(project, request.network))
    return Build(
        plan=plan,
        target=target.stage.name,
        base=target.base,
        base_layers=len(target.stage.image.layers),
        config=target.evaluated.config,
        author=target.evaluated.result.author,
        history=target.history,
        context=context,
        project=project,
    )


class _Stages:
    """Looks at stages, each once, and after those that it uses."""

    def __init__(
        self,
        stages: Sequence[model.Stage],
        given: Mapping[str, str],
        arguments: Mapping[str, str],
        context: Context,
        resolver: ImageResolver,
        blobs: Blobs,
    ) -> None:
        self._stages = stages
        self._names = names_of(stages)
        self._given = given
        self._arguments = arguments
        self._context = context
        self._resolver = resolver
        self._blobs = blobs
        self.known: dict[int, _Known] = {}

    def add_target(self, number: int) -> _Known:
        """Return the stage that the image is made of, which must be for what the image is built for."""
        stage, wanted = self._stages[number], canonical(self._resolver.platform)
        platform = self._platform(stage)
        if platform != wanted:
            message = f"{stage.at}: the stage is for {platform}, but the image is built for {wanted}"
            raise ConfigError(message, hint=f"build it with --platform {platform}, or leave that out of FROM")
        return self.add(number)

    def add(self, number: int) -> _Known:
        """Return the stage, and have it and all that it uses in `known`."""
        if number not in self.known:
            stage = self._stages[number]
            platform, before = self._platform(stage), find_base(self._stages, stage)
            for instruction in stage.instructions:  # before anything is pulled
                if instruction.keyword == "RUN":
                    _check_can_run(platform, instruction.at)
            known = (
                self._from_image(stage, platform)
                if before is None
                else self._from_stage(stage, self.add(before.number))
            )
            self.known[number] = known
        return self.known[number]

    def _from_stage(self, stage: model.Stage, before: _Known) -> _Known:
        return self._evaluated(stage, before.stage.image, before.base, before.platform, before.evaluated.result, before)

    def _from_image(self, stage: model.Stage, platform: Platform) -> _Known:
        if stage.base == SCRATCH:
            image = Image(SCRATCH, None, (), None, str(platform))
            return self._evaluated(stage, image, None, platform, scratch(), None)
        image = self._image(stage.base, stage.at, platform)
        assert image.manifest is not None, "only the host has none"
        base = documents(image.manifest, self._blobs)
        config = cast("Mapping[str, Json]", parse_json(base.config, what=f"the config of {stage.base}"))
        inherited = base_of(
            cast("Mapping[str, Json]", config.get("config") or {}), author=cast("str | None", config.get("author"))
        )
        return self._evaluated(stage, image, base, platform, inherited, None)

    def _evaluated(
        self,
        stage: model.Stage,
        image: Image,
        base: Base | None,
        platform: Platform,
        inherited: model.Base,
        before: _Known | None,
    ) -> _Known:
        evaluated = evaluate(stage, inherited, self._given, self._arguments)
        for operation in evaluated.operations:  # those of ONBUILD, too
            if isinstance(operation, model.Run):
                _check_can_run(platform, operation.at)
        operations = tuple((one, self._origin(one, stage.number)) for one in evaluated.operations)
        made = Stage(self._names[stage.number], image, before.stage.name if before else None, operations)
        return _Known(made, base, platform, evaluated, (*(before.history if before else ()), *evaluated.history))

    def _origin(self, operation: model.Operation, number: int) -> Origin:
        if isinstance(operation, model.Run) or not operation.sources:
            return Origin()
        if operation.origin is None:
            return Origin(context=self._context.choose(operation.sources, at=operation.at))
        before = find_stage(self._stages[:number], operation.origin)
        if before is not None:
            return Origin(job=self.add(before.number).stage.name)
        return Origin(image=self._image(operation.origin, operation.at, canonical(self._resolver.platform)))

    def _image(self, text: str, at: str, platform: Platform) -> Image:
        try:
            is_host = parse_image(text).kind == "host"
        except ValueError as error:
            raise ConfigError(f"{at}: {error}") from error
        if is_host:
            raise ConfigError(f"{at}: this machine is no image to build on", hint="name an image in a registry")
        is_usual = platform == canonical(self._resolver.platform)
        resolver = self._resolver if is_usual else self._resolver.for_platform(platform)
        return resolver.resolve(text, at=at).image

    def _platform(self, stage: model.Stage) -> Platform:
        """Return what the stage is for: what it says, what it begins with, or else what the image is built for."""
        before = find_base(self._stages, stage)
        default = canonical(self._resolver.platform) if before is None else self._platform(before)
        own = default if stage.platform is None else canonical(parse_platform(stage.platform))
        if before is not None and own != default:
            message = f"{stage.at}: the stage is for {own}, but begins with {stage.base!r}, which is for {default}"
            raise ConfigError(message, hint="leave out --platform")
        return own


def _check_can_run(platform: Platform, at: str) -> None:
    """Raise HostError for a RUN `at` a place unless programs of the platform run on this machine."""
    try:
        check_can_run(platform, this_machine())
    except HostError as error:
        raise HostError(f"{at}: {error.message}", hint=error.hint) from error


def _target(stages: Sequence[model.Stage], request: BuildRequest) -> int:
    found = stages[-1] if request.target is None else find_stage(stages, request.target)
    if found is None:
        names = ", ".join(stage.name or str(stage.number) for stage in stages)
        raise ConfigError(f"{request.file} has no stage {request.target!r}", hint=f"its stages: {names}")
    return found.number


def _ignoring(request: BuildRequest) -> Ignore | None:
    """Return what the file's own .dockerignore says, or else the context's."""
    for path in (request.file.with_name(f"{request.file.name}.dockerignore"), request.context / ".dockerignore"):
        if path.is_symlink() or path.exists():
            if not path.is_file():  # not followed into nothing: who wrote it meant to leave something out
                raise ConfigError(f"{path} is no file")
            return Ignore.parse(_read(path), file=str(path))
    return None


def _read(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ConfigError(f"{path} is larger than {_MAX_BYTES >> 20} MiB")
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error

"""Names of images to images in the store. The only place that asks a registry; asks only for what is not there yet.

A tag means what it meant when it was first resolved on this machine, until the caller wants it looked up again. What
lies in a directory or an archive is looked at each time, since that costs nothing.
"""

from __future__ import annotations

import functools
import os
import shlex
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.digest import Digest, key
from ci_env.errors import CiEnvError, ConfigError, IntegrityError, Interrupted
from ci_env.events import Emit
from ci_env.files import explained
from ci_env.oci.platform import Platform
from ci_env.oci.reference import parse
from ci_env.pipeline.image import ImageName, parse_image
from ci_env.plan.inputs import ResolvedImage
from ci_env.plan.plan import Image
from ci_env.resolve.machine import this_machine
from ci_env.store.images import ImageResult, Images, Made
from ci_env.store.layers import Layers

if TYPE_CHECKING:
    from ci_env.oci.registries import Registries
    from ci_env.oci.source import ImageSource

_BUILD = "build it by a name of its own (`ci-env image build -t NAME`), and name that"


@dataclass(frozen=True, slots=True)
class Wanted:
    """How images are to be found."""

    directory: Path
    """that paths in names are relative to"""
    is_offline: bool
    """no registry may be asked"""
    is_renewed: bool
    """registries are asked what their tags mean now"""


class ImageResolver:
    """Finds images, and pulls those that are missing. Each name is resolved once."""

    def __init__(
        self,
        images: Images,
        layers: Layers,
        wanted: Wanted,
        *,
        platform: Platform,
        host_fingerprint: Callable[[], Digest],
        scratch: Path,
        emit: Emit,
    ) -> None:
        self._images = images
        self._layers = layers
        self._wanted = wanted
        self._host_fingerprint = host_fingerprint
        self._scratch = scratch
        self._emit = emit
        self.platform = platform
        """what images are to be for"""

    def for_platform(self, platform: Platform) -> ImageResolver:
        """Return what finds images for another platform as this one does."""
        return ImageResolver(
            self._images,
            self._layers,
            self._wanted,
            platform=platform,
            host_fingerprint=self._host_fingerprint,
            scratch=self._scratch,
            emit=self._emit,
        )

    def resolve(self, text: str, *, at: str) -> ResolvedImage:
        """Return the image that `text` names; errors say that it was asked for `at` this place of the pipeline file."""
        name = parse_image(text)
        if name.kind == "dockerfile":
            raise ConfigError(f"{at}: {text!r} is an image to be built, which none can stand on", hint=_BUILD)
        if name.kind == "host":
            self._check_host(at)
            image = Image(text, None, (), self._host_fingerprint(), str(this_machine()))
            return ResolvedImage(image, {}, "", "")
        result_key = self._key(name)
        may_move = name.kind == "registry" and "@" not in name.place
        result = None if self._wanted.is_renewed and may_move else self._images.load(result_key)
        if result is None or not all(self._layers.has(layer) for layer in result.chain):
            if result is not None and result.made is not None:
                raise layers_lost(result, result.made, at=at)
            with told_where(text, at), self._source(name) as source:
                result = self._pull(text, name, source)
            self._images.save(result_key, result)
        elif result.command is None:
            result = self._with_command(result)
            self._images.save(result_key, result)
        return resolved(text, result)

    def bring(self, text: str, name: str | None) -> ImageResult:
        """Have the image that `text` names in the store, looked for anew, and have `name` mean it from now on.

        None: the name that it has where it comes from, or else `text`.
        """
        place = parse_image(text)
        with _told(text), self._source(place) as source:
            result = replace(self._pull(text, place, source), reference=name or _own_name(source) or text)
        if result.reference == text:
            self.keep(result, place)
            return result
        result = replace(result, made=Made("imported", now(), self._import_again(place, result.reference)))
        self.keep(result, ImageName("registry", result.reference, None))
        return result

    def _import_again(self, place: ImageName, reference: str) -> str:
        path = (self._wanted.directory / place.place).resolve()
        source = f"{place.kind}:{path}" + (f":{place.tag}" if place.tag is not None else "")
        return shlex.join(("ci-env", "image", "import", source, reference))

    def keep(self, result: ImageResult, place: ImageName) -> None:
        """Have `place` mean an image of the store, and have no other one its name."""
        result_key = self._key(place)
        self._images.save(result_key, result)
        for other_key, other in self._images.all():  # what lay in the directory or file before
            if other.reference == result.reference and other.platform == result.platform and other_key != result_key:
                self._images.remove(other_key)

    def _check_host(self, at: str) -> None:
        """Raise ConfigError where this machine's operating system is not for the platform."""
        machine = this_machine()
        if (self.platform.os, self.platform.architecture) != (machine.os, machine.architecture):
            message = f"{at}: `image: host` is this machine, which is {machine} and not {self.platform}"
            raise ConfigError(message, hint="name an image, or leave out --platform")

    def _key(self, name: ImageName) -> Digest:
        """Return the identity of what a name means: the name in full, or a look at what lies on this machine."""
        return key(
            "image",
            {
                "kind": name.kind,
                "place": str(parse(name.place)) if name.kind == "registry" else name.place,
                "tag": name.tag,
                "platform": str(self.platform),
                "state": self._state(name),
            },
        )

    def _state(self, name: ImageName) -> list[str | int]:
        path = self._wanted.directory / name.place
        if name.kind == "registry":
            return []
        if name.kind == "dockerfile":
            return [str(path)]
        try:
            if name.kind == "oci":
                return [str(path), Digest.of((path / "index.json").read_bytes())]
            found = path.stat()
        except OSError:
            return [str(path)]  # reading it will say what is wrong
        return [str(path), str(found.st_mtime_ns), found.st_size, found.st_ino]

    def _pull(self, text: str, name: ImageName, source: ImageSource) -> ImageResult:
        from ci_env.oci.pull import pull

        pulled = pull(source, self.platform, self._layers, self._emit)
        config = pulled.config
        place = parse(name.place) if name.kind == "registry" else None
        return ImageResult(
            version=1,
            reference=text,
            manifest=pulled.manifest,
            platform=str(_without_variant(config.platform)),
            chain=pulled.chain,
            env=config.env,
            user=config.user,
            workdir=config.workdir,
            source=f"{place.registry}/{place.repository}@{pulled.manifest}" if place else None,
            entrypoint=config.entrypoint,
            command=config.command,
        )

    def _with_command(self, result: ImageResult) -> ImageResult:
        """Return a result of an older ci-env with what it did not note, as the image's documents say it."""
        from ci_env.oci.document import Manifest, parse_config, parse_document

        with suppress(IntegrityError):  # a document is gone: the image can still be a job's
            manifest = parse_document(self._layers.document(result.manifest, _gone), what="manifest")
            assert isinstance(manifest, Manifest), "only images are resolved"
            content = self._layers.document(manifest.config.digest, _gone)
            config = parse_config(content, layers=len(result.chain), what="config")
            return replace(result, entrypoint=config.entrypoint, command=config.command)
        return result

    @contextmanager
    def _source(self, name: ImageName) -> Generator[ImageSource]:
        path = self._wanted.directory / name.place
        if name.kind == "registry":
            with self._registry(name.place) as source:
                yield source
            return
        from ci_env.oci.docker_archive import open_docker_archive
        from ci_env.oci.layout import LayoutSource, open_archive

        if name.kind == "oci":
            yield LayoutSource(path, name.tag)
            return
        spool = self._scratch / f"archive-{Digest.of(name.place.encode()).hex[:12]}"
        with explained("make", spool):
            spool.mkdir(exist_ok=True)
        if name.kind == "docker-archive":
            yield open_docker_archive(path, name.tag, spool)
        else:
            yield open_archive(path, name.tag, spool)

    @contextmanager
    def _registry(self, place: str) -> Generator[ImageSource]:
        if self._wanted.is_offline:
            hint = "run once without --offline, which pulls it"
            raise ConfigError("it is not in the store, and --offline forbids to ask its registry", hint=hint)
        with self._registries.image(parse(place)) as source:
            yield source

    @functools.cached_property
    def _registries(self) -> Registries:
        from ci_env.oci.registries import Registries

        return Registries(os.environ, self._emit)


def resolved(text: str, result: ImageResult) -> ResolvedImage:
    """Return an image of the store as a plan knows it; `text` is what names it there."""
    image = Image(text, result.manifest, result.chain, None, result.platform)
    env = {name: value for name, _, value in (assignment.partition("=") for assignment in result.env)}
    return ResolvedImage(image, env, result.user, result.workdir, result.entrypoint or (), result.command or ())


def layers_lost(result: ImageResult, made: Made, *, at: str | None = None) -> ConfigError:
    """Return the error for an image that was made here and is not whole any more."""
    where = "" if at is None else f"{at}: "
    name = result.reference
    message = f"{where}the image {name!r} was {made.how} here at {made.at}, and layers of it have been removed since"
    hint = f"`ci-env prune` removes what was not used for long. To have it again:\n$ {made.again}\n"
    return ConfigError(message, hint=f"{hint}or, if a registry has it:\n$ ci-env image pull {name}")


def now() -> str:
    """Return the time, as images' results tell it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _gone() -> bytes:
    raise IntegrityError("a document of an image is gone")


def _own_name(source: ImageSource) -> str | None:
    """Return what a docker archive calls its image, unless no registry could have that."""
    from ci_env.oci.docker_archive import DockerArchiveSource

    names = source.names if isinstance(source, DockerArchiveSource) else ()
    for name in names:
        with suppress(ValueError):
            parse(name)
            return name
    return None


@contextmanager
def _told(text: str) -> Generator[None]:
    """Have errors name the image."""
    try:
        yield
    except Interrupted:
        raise
    except CiEnvError as error:
        if text not in error.message:
            error.message = f"image {text!r}: {error.message}"
            error.args = (error.message,)
        raise


@contextmanager
def told_where(text: str, at: str) -> Generator[None]:
    """Have errors name the image and where it was asked for."""
    try:
        with _told(text):
            yield
    except Interrupted:
        raise
    except CiEnvError as error:
        if at not in error.message:
            error.message = f"{at}: {error.message}"
        error.args = (error.message,)
        raise


def _without_variant(platform: Platform) -> Platform:
    return Platform(platform.os, platform.architecture)

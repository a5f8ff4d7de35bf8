"""`ci-env image export` and `push`: images out of the store."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ci_env.cli.images.choice import find_one
from ci_env.cli.interrupt import interruptible
from ci_env.cli.opened import Opened, opened
from ci_env.errors import ConfigError
from ci_env.events import Emit
from ci_env.oci.reference import Reference, parse
from ci_env.oci.write import StoredImage, Target, write
from ci_env.pipeline.image import ImageName, parse_image
from ci_env.resolve.images import layers_lost
from ci_env.resolve.stored import stored_image
from ci_env.store.images import ImageResult, Images
from ci_env.ui.view import choose


def run(arguments: argparse.Namespace) -> None:
    """Write an image, and say what its digest is there."""
    is_push = arguments.action == "push"
    place = None if is_push else _place(arguments.target)
    reference = _reference(arguments.target or arguments.image) if is_push else None
    view = choose(arguments.format, stdout=sys.stdout, stderr=sys.stderr, env=os.environ)
    with interruptible(), opened() as everything, view as emit:
        result = find_one(Images(everything.store), arguments.image)
        image = _stored(everything, result)
        with _target(everything, result, place, reference, emit) as target:
            if target.is_plain and arguments.compression is not None:
                raise ConfigError("the layers of a docker archive are not compressed", hint="leave out --compression")
            digest = write(image, target, emit, compression=arguments.compression or "gzip")
    if arguments.format != "json":
        sys.stdout.write(f"{digest}\n")


def _stored(opened: Opened, result: ImageResult) -> StoredImage:
    if not all(opened.layers.has(layer) for layer in result.chain):
        if result.made is not None:
            raise layers_lost(result, result.made)
        raise ConfigError(f"{result.reference} is not whole: layers of it were removed", hint="pull or import it again")
    return stored_image(result.manifest, result.chain, opened.layers, opened.blobs, opened.runner.as_owner)


@contextmanager
def _target(
    opened: Opened, result: ImageResult, place: ImageName | None, reference: Reference | None, emit: Emit
) -> Generator[Target]:
    if place is None:
        assert reference is not None, "an image is either pushed or exported"
        from ci_env.oci.registries import Registries

        registries, source = Registries(os.environ, emit), _own_reference(result)
        with registries.target(reference, opened.scratch, source=source) as registry_target:
            yield registry_target
        return
    from ci_env.oci.docker_archive_write import docker_archive
    from ci_env.oci.layout_write import LayoutTarget, oci_archive

    own = _own_reference(result)
    spool, path, tag = opened.scratch, Path(place.place), place.tag or (own.tag if own else None)
    if place.kind == "oci":
        yield LayoutTarget(path, tag)
    elif place.kind == "oci-archive":
        with oci_archive(path, tag, _name_with_tag(own), spool) as target:
            yield target
    else:
        name = str(_reference(place.tag)) if place.tag else _name_with_tag(own)
        with docker_archive(path, name, spool) as docker_target:
            yield docker_target


def _own_reference(result: ImageResult) -> Reference | None:
    """Return the image's name in a registry, if that is what it has."""
    try:
        return parse(result.reference) if parse_image(result.reference).kind == "registry" else None
    except ValueError:
        return None


def _name_with_tag(reference: Reference | None) -> str | None:
    if reference is None or reference.tag is None:
        return None
    return f"{reference.registry}/{reference.repository}:{reference.tag}"


def _place(text: str) -> ImageName:
    try:
        name = parse_image(text)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if name.kind in ("registry", "host", "dockerfile"):
        hint = "write oci:DIR, oci-archive:FILE or docker-archive:FILE; `ci-env image push` writes to registries"
        raise ConfigError(f"{text!r} is neither a layout nor an archive", hint=hint)
    if name.kind == "docker-archive" and name.tag:
        _reference(name.tag)
    return name


def _reference(text: str) -> Reference:
    try:
        reference = parse(text) if parse_image(text).kind == "registry" else None
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if reference is None or reference.digest is not None:
        raise ConfigError(f"{text!r} is no name to write an image to", hint="name it as in localhost:5000/app:1")
    return reference

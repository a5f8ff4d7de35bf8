"""`ci-env image pull` and `import`: images into the store."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ci_env.cli.interrupt import interruptible
from ci_env.cli.opened import opened
from ci_env.errors import ConfigError
from ci_env.oci.reference import parse
from ci_env.pipeline.image import ImageName, parse_image
from ci_env.resolve.images import Wanted
from ci_env.store.images import ImageResult
from ci_env.ui.view import choose


def run(arguments: argparse.Namespace) -> None:
    """Bring images, and say what they are."""
    if arguments.action == "pull":
        for text in arguments.images:
            _check_registry(text)
        texts: list[tuple[str, str | None]] = [(text, None) for text in arguments.images]
    else:
        _check_place(arguments.source, arguments.name)
        texts = [(arguments.source, arguments.name)]
    view = choose(arguments.format, stdout=sys.stdout, stderr=sys.stderr, env=os.environ)
    results: list[ImageResult] = []
    with interruptible(), opened() as everything, view as emit:
        wanted = Wanted(Path.cwd(), is_offline=False, is_renewed=True)
        resolver = everything.resolver(wanted, arguments.platform, emit)
        results.extend(resolver.bring(text, name) for text, name in texts)
    if arguments.format != "json":
        sys.stdout.writelines(f"{result.reference}  {result.manifest}\n" for result in results)


def _check_registry(text: str) -> None:
    name = _parsed(text)
    if name.kind != "registry":
        hints = {"host": "it needs no pull", "dockerfile": f"$ ci-env image build -f {name.place}"}
        hint = hints.get(name.kind, f"$ ci-env image import {text}")
        raise ConfigError(f"{text!r} is in no registry", hint=hint)


def _check_place(source: str, name: str | None) -> None:
    if _parsed(source).kind in ("registry", "host", "dockerfile"):
        hint = "$ ci-env image pull REF" if _parsed(source).kind == "registry" else None
        raise ConfigError(f"{source!r} is neither a layout nor an archive", hint=hint)
    if name is not None and _parsed(name).kind != "registry":
        raise ConfigError(f"{name!r} is no name for an image", hint="give it one as in a registry, such as app:1")


def _parsed(text: str) -> ImageName:
    try:
        name = parse_image(text)
        if name.kind == "registry":
            parse(name.place)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return name

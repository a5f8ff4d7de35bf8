"""Services of a job as a plan has them: the program of each, by its image and by the file. Pure."""

from __future__ import annotations

import posixpath

from ci_env.errors import ConfigError
from ci_env.pipeline import model
from ci_env.plan.inputs import ResolvedImage
from ci_env.plan.plan import PATH, ROOT, Service


def compile_service(service: model.Service, image: ResolvedImage, limits: model.Limits) -> Service:
    """Return the service, as docker would run it: its environment is the image's and the file's, nothing of a step's.

    ConfigError where neither says what to run.
    """
    argv = _argv(service, image)
    if not argv or not argv[0]:
        message = f"{service.at}: the service {service.name!r} has nothing to run: neither has its image a program"
        raise ConfigError(f"{message}, nor does the file say one", hint="give it a `command`")
    return Service(
        name=service.name,
        aliases=service.aliases,
        image=image.image,
        argv=argv,
        env=dict(sorted({"PATH": PATH, **image.env, **service.env}.items())),
        user=service.user or image.user or ROOT,
        workdir=posixpath.normpath(posixpath.join("/", image.workdir)),
        ready=service.ready,
        limits=limits,
    )


def _argv(service: model.Service, image: ResolvedImage) -> tuple[str, ...]:
    """Return the program and its arguments. The image's CMD belongs to its ENTRYPOINT: who replaces one drops both."""
    if service.entrypoint is not None:
        return (*service.entrypoint, *(service.command or ()))
    return (*image.entrypoint, *(image.command if service.command is None else service.command))

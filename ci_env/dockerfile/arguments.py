"""Build arguments: the ARGs before the first FROM, those that are always there, and those nobody asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ci_env.dockerfile.check import read_trigger
from ci_env.dockerfile.forms import read_arguments
from ci_env.dockerfile.model import Dockerfile, Evaluated, Instruction, Stage
from ci_env.dockerfile.words import WordError, expand
from ci_env.errors import ConfigError
from ci_env.frozen import replace
from ci_env.oci.platform import Platform
from ci_env.oci.platform import parse as parse_platform

_PROXIES = ("ALL_PROXY", "FTP_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")


def with_arguments(
    dockerfile: Dockerfile, given: Mapping[str, str], *, target: Platform, build: Platform
) -> tuple[Dockerfile, Mapping[str, str]]:
    """Return the file with the bases and platforms of its stages expanded, and the global arguments.

    These are what an ARG without a default takes in a stage: BUILDPLATFORM, TARGETPLATFORM and their parts, and the
    ARGs before the first FROM. `given` (`--build-arg`) comes before any of them.
    """
    arguments = _automatic("TARGET", target) | _automatic("BUILD", build)
    arguments |= {name: given[name] for name in arguments if name in given}
    for instruction in dockerfile.arguments:
        for name, default in read_arguments(instruction, escape=dockerfile.escape):
            if name in given:
                arguments[name] = given[name]
            elif default is not None:
                arguments[name] = expand_at(default, arguments, escape=dockerfile.escape, at=instruction.at)
    stages = tuple(_with_base(stage, arguments) for stage in dockerfile.stages)
    return replace(dockerfile, stages=stages), arguments


def proxies(given: Mapping[str, str]) -> Mapping[str, str]:
    """Return the proxies among the build arguments, under both names; processes see them without an ARG."""
    found: dict[str, str] = {}
    for name in _PROXIES:
        value = given.get(name.lower(), given.get(name))
        if value is not None:
            found |= {name: value, name.lower(): value}
    return found


def unused_arguments(
    dockerfile: Dockerfile, given: Mapping[str, str], evaluated: Iterable[Evaluated] = ()
) -> tuple[str, ...]:
    """Return the names in `given` that nothing declares: no ARG of the file, nor one kept by ONBUILD in a base."""
    declared = {name for base in evaluated for name in base.result.arguments}
    for instruction in (*dockerfile.arguments, *(one for stage in dockerfile.stages for one in stage.instructions)):
        declared |= _declared(instruction, dockerfile.escape)
    names = {*_PROXIES, *(name.lower() for name in _PROXIES), *_automatic("TARGET", None), *_automatic("BUILD", None)}
    return tuple(name for name in given if name not in declared | names)


def expand_at(text: str, env: Mapping[str, str], *, escape: str, at: str) -> str:
    """Return the word expanded; ConfigError with the place."""
    try:
        return expand(text, env, escape=escape)
    except WordError as error:
        raise ConfigError(str(error), where=at) from error


def _declared(instruction: Instruction, escape: str) -> set[str]:
    if instruction.keyword == "ONBUILD":
        instruction = read_trigger(instruction, escape=escape)
    if instruction.keyword != "ARG":
        return set()
    return {name for name, _ in read_arguments(instruction, escape=escape)}


def _automatic(prefix: str, platform: Platform | None) -> dict[str, str]:
    return {
        f"{prefix}PLATFORM": str(platform or ""),
        f"{prefix}OS": platform.os if platform else "",
        f"{prefix}OSVERSION": "",
        f"{prefix}ARCH": platform.architecture if platform else "",
        f"{prefix}VARIANT": (platform.variant or "") if platform else "",
    }


def _with_base(stage: Stage, arguments: Mapping[str, str]) -> Stage:
    base = expand_at(stage.base, arguments, escape=stage.escape, at=stage.at)
    if not base:
        raise ConfigError(f"the base `{stage.base[:80]}` is empty once its variables are expanded", where=stage.at)
    if stage.platform is None:
        return replace(stage, base=base)
    platform = expand_at(stage.platform, arguments, escape=stage.escape, at=stage.at)
    try:
        parse_platform(platform)
    except ValueError as error:
        raise ConfigError(str(error), where=stage.at) from error
    return replace(stage, base=base, platform=platform)

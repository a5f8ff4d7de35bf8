"""The `config` object of an image's configuration (OCI image spec, config.md, with docker's additions). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ci_env.digest import Json
from ci_env.dockerfile.model import Base
from ci_env.errors import ConfigError

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def base_of(config: Mapping[str, Json], *, author: str | None = None) -> Base:
    """Return what a stage inherits of an image; ConfigError if it is not what the spec says.

    An image without PATH gets docker's. Keys that docker does not know are lost, as there.
    """
    pairs = dict[str, str](_pair(item) for item in _texts(config, "Env") or ())
    return Base(
        env=pairs if "PATH" in pairs else {**pairs, "PATH": _DEFAULT_PATH},
        user=_text(config, "User"),
        workdir=_text(config, "WorkingDir"),
        entrypoint=_texts(config, "Entrypoint"),
        cmd=_texts(config, "Cmd"),
        labels={name: _as_text(value, "Labels") for name, value in _object(config, "Labels").items()},
        ports=tuple(_object(config, "ExposedPorts")),
        volumes=tuple(_object(config, "Volumes")),
        stop_signal=_text(config, "StopSignal"),
        healthcheck=_object(config, "Healthcheck") or None,
        shell=_texts(config, "Shell") or (),
        onbuild=_texts(config, "OnBuild") or (),
        arguments={},
        author=author,
    )


def scratch() -> Base:
    """Return what a stage `FROM scratch` begins with."""
    return base_of({"WorkingDir": "/"})


def config_of(base: Base) -> Mapping[str, Json]:
    """Return the object again; what is empty is left out."""
    config: dict[str, Json] = {
        "User": base.user,
        "ExposedPorts": {port: {} for port in base.ports},
        "Env": [f"{name}={value}" for name, value in base.env.items()],
        "Entrypoint": base.entrypoint,
        "Cmd": base.cmd,
        "Volumes": {volume: {} for volume in base.volumes},
        "WorkingDir": base.workdir,
        "Labels": base.labels,
        "StopSignal": base.stop_signal,
        "Healthcheck": base.healthcheck,
        "Shell": base.shell,
        "OnBuild": base.onbuild,
    }
    return {name: list(value) if isinstance(value, tuple) else value for name, value in config.items() if value}


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _text(config: Mapping[str, Json], name: str) -> str:
    return _as_text(config.get(name) or "", name)


def _texts(config: Mapping[str, Json], name: str) -> tuple[str, ...] | None:
    found = config.get(name)
    if found is None:
        return None
    if isinstance(found, str) or not isinstance(found, Sequence):
        raise _wrong(name)
    return tuple(_as_text(item, name) for item in found)


def _object(config: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    found = config.get(name) or {}
    if not isinstance(found, Mapping):
        raise _wrong(name)
    return found


def _as_text(value: Json, name: str) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise _wrong(name)
    return value


def _wrong(name: str) -> ConfigError:
    return ConfigError(f"the base image's configuration is malformed at `{name}`")

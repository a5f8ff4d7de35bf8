"""The flags of RUN: `--mount=type=cache` and `--network`. Pure.

A cache is named by its target, and shared by all who use it at once: what asks for anything else is refused.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator

from ci_env.dockerfile.forms import read_flags
from ci_env.dockerfile.model import Instruction
from ci_env.errors import ConfigError
from ci_env.pipeline.suggest import did_you_mean

_TYPES = ("bind", "cache", "secret", "ssh", "tmpfs")
_TARGETS = frozenset({"destination", "dst", "target"})
_KNOWN = (*sorted(_TARGETS), "from", "gid", "id", "mode", "readonly", "readwrite", "ro", "rw", "sharing", "source",
          "src", "type", "uid")  # fmt: skip
_DEFAULTS = {"sharing": "shared", "uid": "0", "gid": "0", "mode": "0755", "rw": "true", "readwrite": "true"}


def read_network(instruction: Instruction) -> str | None:
    """Return `none`, `host` or None, for the instruction does not say."""
    network = read_flags(instruction).get("network", ("default",))[0]
    if network not in {"default", "host", "none"}:
        raise ConfigError(f"`--network` is `default`, `none` or `host`, not `{network[:40]}`", where=instruction.at)
    return None if network == "default" else network


def check_mount(mount: str, instruction: Instruction) -> None:
    """ConfigError for a `--mount` that is not supported, whatever its variables are."""
    if "$" not in mount:
        read_cache(mount, instruction, lambda word: word)
    for _ in _fields(mount, instruction):
        pass


def read_cache(mount: str, instruction: Instruction, expand: Callable[[str], str]) -> str:
    """Return the target of `--mount=type=cache,...`; ConfigError for any other mount."""
    fields = {name: expand(value) for name, value in _fields(mount, instruction)}
    kind = fields.pop("type", "bind")
    if kind != "cache":
        suggestion = "" if kind in _TYPES else did_you_mean(kind, _TYPES)
        raise ConfigError(f"`--mount=type={kind[:40]}` is not supported{suggestion}", where=instruction.at)
    target = next((fields.pop(name) for name in sorted(_TARGETS & fields.keys())), "")
    if not target:
        raise ConfigError("`--mount=type=cache` needs `target=PATH`", where=instruction.at)
    for name, value in fields.items():
        if value != (target if name == "id" else _DEFAULTS.get(name)):
            raise ConfigError(f"`{name}={value[:40]}` of a cache is not supported; leave it out", where=instruction.at)
    return target


def _fields(mount: str, instruction: Instruction) -> Iterator[tuple[str, str]]:
    try:
        fields = [field for row in csv.reader([mount], strict=True) for field in row]
    except csv.Error as error:
        raise ConfigError(f"`--mount={mount[:80]}` cannot be read: {error}", where=instruction.at) from error
    for field in fields:
        name, equals, value = field.partition("=")
        if name.lower() not in _KNOWN:
            suggestion = did_you_mean(name.lower(), _KNOWN)
            raise ConfigError(f"`--mount` has no option `{name[:40]}`{suggestion}", where=instruction.at)
        yield name.lower(), value if equals else "true"

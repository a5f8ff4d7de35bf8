"""What a case of applying images is: archives as data, and the tree they must show or the error they must give."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ci_env.errors import CiEnvError, ConfigError
from tests.oci_builder import Item, d, f, link

VICTIM = "/VICTIM"
"""In names and targets: stands for a directory outside the layers that holds the file `kept`."""


@dataclass(frozen=True)
class Stored:
    """A layer as it comes from a registry, and what its config says of it."""

    content: bytes
    plain: bytes
    """what the diff id is the digest of"""


Layer = Sequence[Item] | Stored


@dataclass(frozen=True)
class Shown:
    """Layers, bottom first, and what they show together."""

    layers: tuple[Layer, ...]
    tree: tuple[Item, ...]
    """parents that are not listed are as those that no archive lists"""
    warnings: tuple[str, ...]
    """a part of each that the topmost layer gives"""
    packs: bool
    """its layers can be packed again"""


@dataclass(frozen=True)
class Refused:
    """Layers, bottom first, the topmost of which is an error."""

    layers: tuple[Layer, ...]
    message: str
    """a part of it"""
    kind: type[CiEnvError]
    unless_squashed: bool
    """owners are not looked at where all files belong to the caller"""


Try = Shown | Refused


@dataclass(frozen=True)
class Case:
    """One case of the table in docs/images.md."""

    id: str
    what: str
    result: str
    tries: tuple[Try, ...] = ()
    tests: tuple[str, ...] = ()
    """tests of other kinds that hold it, as `FILE::NAME` below tests/"""
    deviation: str = ""
    """why the result is not what other tools or the specification say"""


BASE = (
    d("a"),
    f("a/f", "lower"),
    f("a/g"),
    f("x", "x"),
    d("tmp", mode=0o1777),
    d("usr"),
    d("usr/lib"),
    link("lib", "usr/lib"),
)


def shows(*layers: Layer, tree: Sequence[Item], warnings: Sequence[str] = (), packs: bool = True) -> Shown:
    return Shown(layers, tuple(tree), tuple(warnings), packs)


def fails(*layers: Layer, message: str, kind: type[CiEnvError] = ConfigError, unless_squashed: bool = False) -> Refused:
    return Refused(layers, message, kind, unless_squashed)


def base(*changes: Item, without: Sequence[str] = ()) -> tuple[Item, ...]:
    """Return the base's tree with `changes`, and without some names and what is below them."""
    replaced = {name(item) for item in changes}
    kept = [item for item in BASE if name(item) not in replaced and not _is_in(name(item), without)]
    return (*kept, *changes)


def name(item: Item) -> str:
    """Return the path of a tree's item, without slashes around it; `.` is the root."""
    return item.path.decode("utf-8", "surrogateescape").removeprefix("./").strip("/") or "."


def located(items: Sequence[Item], victim: Path) -> list[Item]:
    """Return `items` with the true path of the victim."""
    token, path = VICTIM.encode(), os.fsencode(victim)
    return [replace(item, path=item.path.replace(token, path), link=item.link.replace(token, path)) for item in items]


def _is_in(path: str, directories: Sequence[str]) -> bool:
    return any(path == directory or path.startswith(directory + "/") for directory in directories)

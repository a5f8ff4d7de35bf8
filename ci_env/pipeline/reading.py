"""Text of the file to what it means in one leg: expressions replaced, then checked. Knows no section of the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from ci_env.frozen import replace
from ci_env.pipeline import checks
from ci_env.pipeline.image import parse_image
from ci_env.pipeline.positions import KeyPath, shown
from ci_env.pipeline.substitute import ExpressionError, Scope, substitute

T = TypeVar("T")
CheckReference = Callable[[str], object]
"""raises ValueError for what cannot be the name of an image in a registry"""


class Wrong(Exception):
    """One problem that makes a step, a service or a leg impossible."""

    def __init__(self, path: KeyPath, message: str, *, part: str = "") -> None:
        super().__init__(message)
        self.path = path
        self.message = message
        self.part = part


def read(path: KeyPath, text: str, scope: Scope, check: Callable[[str], T]) -> T:
    """Return what `text`, written at `path`, means; Wrong where it means nothing."""
    try:
        return check(substitute(text, scope))
    except ExpressionError as error:
        raise Wrong(path, str(error), part=error.expression) from error
    except ValueError as error:
        raise Wrong(path, str(error)) from error


def read_each(path: KeyPath, texts: Sequence[str], scope: Scope, check: Callable[[str], str]) -> tuple[str, ...]:
    """Return what a list means, whose entries must differ."""
    values = [read((*path, index), text, scope, check) for index, text in enumerate(texts)]
    if len(set(values)) < len(values):
        raise Wrong(path, f"{shown(first_twice(values))} is there twice")
    return tuple(values)


def read_image(path: KeyPath, text: str, scope: Scope, check_reference: CheckReference) -> str:
    """Return the name of an image."""

    def check(text: str) -> str:
        image = parse_image(text)
        if image.kind == "registry":
            check_reference(image.place)
        return text

    return read(path, text, scope, check)


def with_env(scope: Scope, declared: Mapping[str, str], path: KeyPath) -> Scope:
    """Return `scope` with the variables of one `env`, each of which can name those of outer ones and those above it."""
    env = dict(scope.env)
    inner = replace(scope, env=env)
    for name, text in declared.items():
        env[name] = read((*path, name), text, inner, partial(checks.variable, name))
    return inner


def first_twice(values: Sequence[str]) -> str:
    """Return the first value that is there twice, as one must be."""
    return next(value for index, value in enumerate(values) if value in values[:index])

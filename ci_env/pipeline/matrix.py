"""A job's matrix to its legs: every combination of its values, in file order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from ci_env.pipeline.fields import MAX_NAME_LENGTH
from ci_env.pipeline.positions import KeyPath, Problems, shown
from ci_env.pipeline.substitute import OPENING

MAX_LEGS = 256


def combinations(matrix: Mapping[str, Sequence[str]]) -> Iterator[dict[str, str]]:
    """Yield the combinations, the last key's values changing fastest; a matrix without keys has one."""
    for values in itertools.product(*matrix.values()):
        yield dict(zip(matrix, values, strict=True))


def leg_name(job: str, combination: Mapping[str, str]) -> str:
    """Return `job (python=3.12, os=debian)`; the job's own name where there is nothing to tell apart."""
    values = ", ".join(f"{name}={value}" for name, value in combination.items())
    return f"{job} ({values})" if values else job


def check_matrix(matrix: Mapping[str, Sequence[str]], path: KeyPath, problems: Problems) -> bool:
    """Note what is wrong with a matrix and return whether it can be expanded."""
    size = math.prod(len(values) for values in matrix.values())
    if size > MAX_LEGS:
        problems.at_key(path, f"{size} combinations; at most {MAX_LEGS} are possible")
        return False
    good = [_check_values(values, (*path, name), problems) for name, values in matrix.items()]
    return all(good)


def _check_values(values: Sequence[str], path: KeyPath, problems: Problems) -> bool:
    complaints = [_complaint(values, index) for index in range(len(values))]
    for index, message in enumerate(complaints):
        if message:
            problems.at_value((*path, index), message)
    return not any(complaints)


def _complaint(values: Sequence[str], index: int) -> str:
    value = values[index]
    if not value.isprintable() or len(value) > MAX_NAME_LENGTH:
        return f"a value is one line of at most {MAX_NAME_LENGTH} printable characters, not {shown(value)}"
    if OPENING in value:
        return "values of a matrix are taken as they are: no expressions"
    return f"{shown(value)} is there twice" if values.index(value) < index else ""

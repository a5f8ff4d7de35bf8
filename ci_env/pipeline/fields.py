"""The kinds of values that a pipeline file holds: how each is read, and what it looks like to an editor.

Each says what it expects and leaves it to complaints.py to say what was found instead.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, TypeVar, cast

from pydantic import AfterValidator, BeforeValidator, GetCoreSchemaHandler, GetPydanticSchema, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError

from ci_env.pipeline.quantities import (
    DURATION_PATTERN,
    MAX_DURATION_S,
    MAX_SIZE_BYTES,
    SIZE_PATTERN,
    parse_duration,
    parse_size,
)
from ci_env.pipeline.scalars import Integer

EXPECTED = "expected"
"""type of an error whose message completes `expected ...`"""
RULE = "rule"
"""type of an error whose message says all"""
MAX_NAME_LENGTH = 100
_LEAST_CPUS = 0.01
"""the scheduler gives time in slices of 1 ms of 100: the kernel's Documentation/scheduler/sched-bwc.rst"""
_JOB_NAME = r"^[A-Za-z0-9_.-]{1,100}$"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"

T = TypeVar("T")


def _expected(what: str) -> PydanticCustomError:
    return PydanticCustomError(EXPECTED, "{what}", {"what": what})


def _text(value: object) -> str:
    if isinstance(value, Integer):
        return value.literal
    if not isinstance(value, str):
        raise _expected("text")
    return value


def _duration(value: object) -> int:
    expected = _expected("a duration such as `90s`, `15m` or `1h30m`")
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise expected
    try:
        seconds = int(value) if isinstance(value, int) else parse_duration(value)
    except ValueError as error:
        raise expected from error
    if not 0 < seconds <= MAX_DURATION_S:
        raise _expected(f"a duration of at least 1 and at most {MAX_DURATION_S} seconds")
    return seconds


def _size(value: object) -> int:
    expected = _expected("a size such as `512MB` or `2GiB`")
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise expected
    try:
        size = int(value) if isinstance(value, int) else parse_size(value)
    except ValueError as error:
        raise expected from error
    if not 0 < size <= MAX_SIZE_BYTES:
        raise _expected(f"a size of at least 1 and at most {MAX_SIZE_BYTES} bytes")
    return size


def _cpus(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < _LEAST_CPUS:
        raise _expected(f"a number of processors of at least {_LEAST_CPUS}, such as `2` or `0.5`")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise _expected("a whole number greater than 0")
    return int(value)


def _port(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 65535:
        raise _expected("a port from 1 to 65535")
    return int(value)


def _version(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value != 1:
        raise _expected("`1`, the only version that this ci-env reads")
    return 1


def _job_name(name: str) -> str:
    if not re.fullmatch(_JOB_NAME, name):
        raise PydanticCustomError(RULE, "a job's name has 1 to 100 letters, digits, `_`, `.` and `-`")
    return name


def _variable(name: str) -> str:
    if not re.fullmatch(_VARIABLE, name):
        rule = "the name of a variable has letters, digits and `_`, and does not begin with a digit"
        raise PydanticCustomError(RULE, rule)
    return name


def _not_null(source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
    schema = handler(source)
    assert schema["type"] == "nullable"
    return cast("CoreSchema", schema["schema"])


Optional = Annotated[T | None, GetPydanticSchema(_not_null)]
"""May be left out, and is None then; but a key that is there must have a value."""

Version = Annotated[int, BeforeValidator(_version), WithJsonSchema({"const": 1})]
JobName = Annotated[str, AfterValidator(_job_name), WithJsonSchema({"type": "string", "pattern": _JOB_NAME})]
Variable = Annotated[str, AfterValidator(_variable), WithJsonSchema({"type": "string", "pattern": _VARIABLE})]
Literally = Annotated[str, BeforeValidator(_text), WithJsonSchema({"type": ["string", "integer"]})]
"""Text; a whole number means the text it was written as."""
Duration = Annotated[
    int,
    BeforeValidator(_duration),
    WithJsonSchema({"type": ["string", "integer"], "pattern": DURATION_PATTERN, "minimum": 1, "minLength": 2}),
]
"""In seconds."""
Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema({"type": ["string", "integer"], "pattern": SIZE_PATTERN, "minimum": 1}),
]
"""In bytes."""
Cpus = Annotated[float, BeforeValidator(_cpus), WithJsonSchema({"type": "number", "minimum": _LEAST_CPUS})]
Count = Annotated[int, BeforeValidator(_count), WithJsonSchema({"type": "integer", "minimum": 1})]
Port = Annotated[int, BeforeValidator(_port), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 65535})]

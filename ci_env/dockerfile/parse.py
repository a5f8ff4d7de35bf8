"""A Dockerfile's text as stages. Owns the rules about the file as a whole; refuses what is wrong by its line. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from ci_env.dockerfile.check import check
from ci_env.dockerfile.forms import read_flags, read_words
from ci_env.dockerfile.lines import read_lines
from ci_env.dockerfile.model import Dockerfile, Instruction, Stage
from ci_env.errors import ConfigError

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_NUMBER = re.compile(r"[0-9]{1,9}")


def parse(text: str, *, file: str) -> Dockerfile:
    """Return the stages of a Dockerfile; ConfigError says in which line of `file` what is wrong or not supported."""
    written = read_lines(text, file=file)
    for instruction in written.instructions:
        check(instruction, escape=written.escape)
    starts = [index for index, one in enumerate(written.instructions) if one.keyword == "FROM"]
    if not starts:
        raise ConfigError("no FROM: there is nothing to build", where=file)
    arguments = written.instructions[: starts[0]]
    for instruction in arguments:
        if instruction.keyword != "ARG":
            raise ConfigError(f"{instruction.keyword} before the first FROM", where=instruction.at)
    names: dict[str, int] = {}
    stages = tuple(
        _stage(written.instructions[start:end], number, names, escape=written.escape)
        for number, (start, end) in enumerate(pairwise([*starts, len(written.instructions)]))
    )
    for stage in stages:
        _check_origins(stage, names)
    return Dockerfile(stages, arguments, written.escape)


def _stage(instructions: Sequence[Instruction], number: int, names: dict[str, int], *, escape: str) -> Stage:
    """Return the stage that FROM, the first of `instructions`, begins; note its name."""
    start, *rest = instructions
    words = read_words(start)
    if len(words) not in {1, 3} or (len(words) == 3 and words[1].upper() != "AS"):
        raise ConfigError("FROM is written `FROM image` or `FROM image AS name`", where=start.at)
    name = words[2].lower() if len(words) == 3 else None
    if name is not None:
        _check_name(name, names, at=start.at)
        names[name] = number
    platform = read_flags(start).get("platform", (None,))[0]
    return Stage(number, name, words[0], platform, tuple(rest), start.at, escape)


def _check_name(name: str, names: Mapping[str, int], *, at: str) -> None:
    if not _STAGE_NAME.fullmatch(name) or name == "scratch":
        raise ConfigError(
            f"`{name[:40]}` is not a stage's name",
            where=at,
            hint="a letter, then letters, digits, `_`, `.` and `-`; and not `scratch`",
        )
    if name in names:
        raise ConfigError(f"the stage name `{name[:40]}` is there twice", where=at)


def _check_origins(stage: Stage, names: Mapping[str, int]) -> None:
    """Refuse to copy from a stage that is not made yet; another name is an image's."""
    for instruction in stage.instructions:
        if instruction.keyword == "COPY":
            for name in read_flags(instruction).get("from", ()):
                number = int(name) if _NUMBER.fullmatch(name) else names.get(name.lower(), -1)
                if number >= stage.number:
                    raise ConfigError(f"`--from={name[:40]}`: no earlier stage is that", where=instruction.at)

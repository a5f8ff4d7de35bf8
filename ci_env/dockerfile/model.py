"""What a Dockerfile says, as data: stages, and once their base is known, what is to be done in each. Pure.

parse.py makes stages of text, evaluate.py operations of a stage. Every value is expanded and every path absolute by
then, so that what comes after needs to know no Dockerfile.
"""

from __future__ import annotations

from collections.abc import Mapping

from ci_env.digest import Json
from ci_env.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Heredoc:
    """Text that an instruction brings with it, as `<<NAME`."""

    name: str
    text: str
    is_expanded: bool
    """its name was not quoted, so variables in it count"""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction as written: neither expanded nor checked for sense."""

    keyword: str
    """in capitals"""
    flags: tuple[tuple[str, str], ...]
    """`--name=value`, in order; a flag without a value has an empty one"""
    text: str
    """what follows the flags; continued lines are one, comments inside are gone"""
    heredocs: tuple[Heredoc, ...]
    at: str
    """`FILE:LINE` for messages"""


@dataclass(frozen=True, slots=True)
class Stage:
    """From one FROM to the next."""

    number: int
    name: str | None
    """of `AS`, in lower case"""
    base: str
    """an image's name, `scratch`, or an earlier stage's name; global ARGs are expanded"""
    platform: str | None
    instructions: tuple[Instruction, ...]
    at: str


@dataclass(frozen=True, slots=True)
class Run:
    """A process to run."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    """ARGs in force and the stage's ENV, which wins"""
    user: str
    """empty: root"""
    workdir: str
    network: str | None
    """`none`, `host`, or None where the instruction says nothing"""
    caches: tuple[str, ...]
    """targets of `--mount=type=cache`, absolute"""
    title: str
    """the instruction as people know it, on one line"""
    at: str


@dataclass(frozen=True, slots=True)
class Copy:
    """Files to copy: COPY, ADD, and the directory that WORKDIR makes (which has no sources)."""

    origin: str | None
    """of `--from`: a stage's name or number, or an image; None: the context"""
    sources: tuple[str, ...]
    """patterns in the language of Go's filepath.Match, relative to the origin's root, without a leading slash"""
    heredocs: tuple[tuple[str, str], ...]
    """files to make: name and content"""
    destination: str
    """absolute; a trailing slash says that it is a directory"""
    chown: str | None
    """`user[:group]`, names or numbers; None: root"""
    chmod: int | None
    is_unpacking: bool
    """ADD: a local tar archive, compressed or not, is unpacked"""
    title: str
    at: str


Operation = Run | Copy


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A stage whose base is known."""

    operations: tuple[Operation, ...]
    config: Mapping[str, Json]
    """the `config` object of the image's configuration (OCI image spec, config.md): Env, Cmd, ..."""
    history: tuple[tuple[str, bool], ...]
    """for each instruction: how it was written, and whether it made no layer (`created_by`, `empty_layer`)"""

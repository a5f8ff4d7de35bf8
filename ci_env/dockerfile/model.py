"""What a Dockerfile says, as data: stages, and once their base is known, what is to be done in each. Pure.

parse.py makes stages of text, arguments.py gives them their base, evaluate.py makes operations of a stage. Every value
is expanded and every path absolute by then, so that what comes after needs to know no Dockerfile.
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
    """of `<<-` without the tabs that begin its lines"""
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
    """an image's name, `scratch`, or an earlier stage's name; global ARGs are expanded in what arguments.py returns"""
    platform: str | None
    """`os/architecture[/variant]`; likewise"""
    instructions: tuple[Instruction, ...]
    at: str
    escape: str = "\\"
    """the letter that takes another one's meaning away"""


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A whole file as written."""

    stages: tuple[Stage, ...]
    """at least one"""
    arguments: tuple[Instruction, ...]
    """the ARGs before the first FROM"""
    escape: str


@dataclass(frozen=True, slots=True)
class Base:
    """What a stage inherits: from an image's `config`, or from the stage that it begins as."""

    env: Mapping[str, str]
    user: str
    workdir: str
    entrypoint: tuple[str, ...] | None
    cmd: tuple[str, ...] | None
    labels: Mapping[str, str]
    ports: tuple[str, ...]
    """`number/protocol`"""
    volumes: tuple[str, ...]
    stop_signal: str
    healthcheck: Mapping[str, Json] | None
    shell: tuple[str, ...]
    """empty: `/bin/sh -c`"""
    onbuild: tuple[str, ...]
    """instructions that come before a stage's own"""
    arguments: Mapping[str, str]
    """ARGs in force, where no later ENV has the same name; a stage that inherits them prefers any ENV"""
    author: str | None


@dataclass(frozen=True, slots=True)
class Run:
    """A process to run."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    """ENV and the ARGs in force, of one name the later; below them the proxies given as build arguments"""
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
    """of `--from`, as written: a stage's name or number, or an image; None: the context"""
    sources: tuple[str, ...]
    """patterns in the language of Go's filepath.Match, relative to the origin's root, without a leading slash"""
    heredocs: tuple[tuple[str, str], ...]
    """files to make: name and content"""
    destination: str
    """absolute; a trailing slash says that it is a directory, as it must be for several sources"""
    chown: str | None
    """`user[:group]`, names or numbers; None: as in the origin, where all that a context has is root's"""
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
    result: Base
    """what a stage that begins as this one inherits"""

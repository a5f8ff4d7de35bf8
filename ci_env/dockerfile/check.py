"""Whether one instruction is well formed and supported, as far as that shows without variables' values. Pure."""

from __future__ import annotations

from ci_env.dockerfile import forms
from ci_env.dockerfile.lines import split_instruction
from ci_env.dockerfile.model import Instruction
from ci_env.dockerfile.mounts import check_mount, read_network
from ci_env.dockerfile.settings import read_healthcheck
from ci_env.dockerfile.words import WordError, expand
from ci_env.errors import ConfigError


def check(instruction: Instruction, *, escape: str) -> None:
    """ConfigError if evaluating the instruction could not succeed, whatever is given to it."""
    forms.read_flags(instruction)
    match instruction.keyword:
        case "ADD" | "COPY":
            _check_transfer(instruction)
        case "ARG":
            forms.read_arguments(instruction, escape=escape)
        case "CMD" | "ENTRYPOINT":
            forms.read_command(instruction)
        case "ENV" | "LABEL":
            forms.read_pairs(instruction, escape=escape)
        case "HEALTHCHECK":
            read_healthcheck(instruction)
        case "ONBUILD":
            check(read_trigger(instruction, escape=escape), escape=escape)
        case "RUN":
            _check_run(instruction)
        case "SHELL":
            read_shell(instruction)
        case _:
            forms.read_one(instruction, "a value")


def read_trigger(instruction: Instruction, *, escape: str) -> Instruction:
    """Return the instruction that ONBUILD keeps for later."""
    text, at = forms.read_one(instruction, "an instruction"), instruction.at
    trigger = split_instruction(text, instruction.heredocs, escape=escape, at=at)
    if trigger.keyword in {"FROM", "MAINTAINER", "ONBUILD"}:
        raise ConfigError(f"ONBUILD cannot keep {trigger.keyword} for later", where=at)
    return trigger


def read_shell(instruction: Instruction) -> tuple[str, ...]:
    """Return the argv that SHELL sets."""
    argv = forms.read_command(instruction).argv
    if not argv:
        raise ConfigError('SHELL needs a JSON list, as in ["/bin/bash", "-c"]', where=instruction.at)
    return argv


def _check_transfer(instruction: Instruction) -> None:
    forms.read_transfer(instruction)
    flags = forms.read_flags(instruction)
    for mode in flags.get("chmod", ()):
        if "$" not in mode:
            forms.read_mode(mode, instruction)
    for origin in flags.get("from", ()):
        _check_origin(origin, instruction)


def _check_run(instruction: Instruction) -> None:
    command = forms.read_command(instruction)
    if command.argv == ():
        raise ConfigError("RUN needs a command", where=instruction.at)
    if command.argv and instruction.heredocs:
        raise ConfigError("RUN with a JSON list cannot have a heredoc: no shell reads it", where=instruction.at)
    read_network(instruction)
    for mount in forms.read_flags(instruction).get("mount", ()):
        check_mount(mount, instruction)


def _check_origin(origin: str, instruction: Instruction) -> None:
    try:
        is_plain = expand(origin, {}, escape="\\") == origin
    except WordError:
        is_plain = False
    if not is_plain:
        raise ConfigError(
            f"`--from={origin[:40]}`: variables do not count here",
            where=instruction.at,
            hint="name a stage, made by `FROM $NAME AS stage`",
        )

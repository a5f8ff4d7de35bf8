"""What a stage comes to once its base is known: operations, and the image's configuration. Pure.

The rules are BuildKit's (frontend/dockerfile/dockerfile2llb/convert.go). Where the reference differs, that is what
people's builds rely on: of an ENV and an ARG with the same name, the later one counts.
"""

from __future__ import annotations

from collections.abc import Mapping

from ci_env.dockerfile import forms
from ci_env.dockerfile.arguments import expand_at, proxies
from ci_env.dockerfile.check import check, read_shell
from ci_env.dockerfile.image_config import config_of
from ci_env.dockerfile.lines import read_lines
from ci_env.dockerfile.model import Base, Evaluated, Instruction, Operation, Stage
from ci_env.dockerfile.operations import (
    absolute,
    copy_of,
    directory_of,
    run_of,
    shell_argv,
    title_of,
    variables,
)
from ci_env.dockerfile.settings import check_signal, ports_of, read_healthcheck
from ci_env.dockerfile.words import WordError, expand_words
from ci_env.errors import ConfigError
from ci_env.frozen import replace


def evaluate(stage: Stage, base: Base, given: Mapping[str, str], arguments: Mapping[str, str]) -> Evaluated:
    """Return what is to be done in `stage`, and what its image will say; ConfigError with the line of what is wrong.

    `given` are the build arguments, `arguments` the global ones that arguments.py returns. The instructions that the
    base keeps for its children (ONBUILD) come first, at the place of FROM.
    """
    evaluation = _Evaluation(stage, base, given, arguments)
    for trigger in base.onbuild:
        evaluation.apply(_trigger(trigger, stage))
    for instruction in stage.instructions:
        evaluation.apply(instruction)
    return evaluation.result()


def _trigger(text: str, stage: Stage) -> Instruction:
    """Return the instruction that a base has kept, as if it stood at the stage's FROM."""
    try:
        instructions = read_lines(text, file=stage.at).instructions
        if len(instructions) != 1 or instructions[0].keyword in {"FROM", "MAINTAINER", "ONBUILD"}:
            raise ConfigError("not one instruction that may be kept")
        found = replace(instructions[0], at=stage.at)
        check(found, escape=stage.escape)
    except ConfigError as error:
        kept, reason = " ".join(text.split())[:80], error.message.removeprefix(f"{error.where}: ")
        raise ConfigError(f"the base keeps `ONBUILD {kept}`: {reason}", where=stage.at, hint=error.hint) from error
    return found


class _Evaluation:
    """The state of a stage between two instructions."""

    def __init__(self, stage: Stage, base: Base, given: Mapping[str, str], arguments: Mapping[str, str]) -> None:
        self._escape = stage.escape
        self._given = given
        self._arguments = arguments
        self._proxies = proxies(given)
        inherited = {name: value for name, value in base.arguments.items() if name not in base.env}
        self._state = replace(base, onbuild=(), arguments=inherited)
        self._has_cmd = False
        self._operations: list[Operation] = []
        self._history: list[tuple[str, bool]] = []

    def result(self) -> Evaluated:
        return Evaluated(tuple(self._operations), config_of(self._state), tuple(self._history), self._state)

    def apply(self, instruction: Instruction) -> None:
        before = len(self._operations)
        match instruction.keyword:
            case "RUN":
                self._operations.append(run_of(instruction, self._state, proxies=self._proxies, escape=self._escape))
            case "ADD" | "COPY":
                self._operations.append(copy_of(instruction, self._state, escape=self._escape))
            case "WORKDIR":
                self._work_in(instruction)
            case "ARG":
                self._declare(instruction)
            case "ENV":
                self._set_variables(instruction)
            case "CMD":
                self._has_cmd = True
                self._state = replace(self._state, cmd=self._command(instruction))
            case _:
                self._state = self._configured(instruction)
        self._history.append((title_of(instruction), len(self._operations) == before))

    def _configured(self, instruction: Instruction) -> Base:
        """Return the state after an instruction that does nothing but set a part of it."""
        state = self._state
        match instruction.keyword:
            case "ENTRYPOINT":
                cmd = state.cmd if self._has_cmd else None
                return replace(state, entrypoint=self._command(instruction) or None, cmd=cmd)
            case "EXPOSE":
                return replace(state, ports=tuple(sorted({*state.ports, *self._ports(instruction)})))
            case "HEALTHCHECK":
                return replace(state, healthcheck=read_healthcheck(instruction))
            case "LABEL":
                return replace(state, labels={**state.labels, **self._pairs(instruction)})
            case "MAINTAINER":
                return replace(state, author=instruction.text)
            case "ONBUILD":
                return replace(state, onbuild=(*state.onbuild, _kept(instruction)))
            case "SHELL":
                return replace(state, shell=read_shell(instruction))
            case "STOPSIGNAL":
                return replace(state, stop_signal=self._signal(instruction))
            case "USER":
                return replace(state, user=self._word(instruction.text, instruction.at))
            case keyword:
                assert keyword == "VOLUME", "FROM begins a stage, and no other keyword passes the parser"
                return replace(state, volumes=tuple(dict.fromkeys((*state.volumes, *self._volumes(instruction)))))

    def _word(self, text: str, at: str) -> str:
        return expand_at(text, variables(self._state), escape=self._escape, at=at)

    def _pairs(self, instruction: Instruction) -> Mapping[str, str]:
        """Return names and values, all expanded with what was in force before the instruction."""
        found: dict[str, str] = {}
        for name, value in forms.read_pairs(instruction, escape=self._escape):
            key = self._word(name, instruction.at)
            if not key:
                raise ConfigError(f"the name `{name[:40]}` is empty once it is expanded", where=instruction.at)
            found[key] = self._word(value, instruction.at)
        return found

    def _set_variables(self, instruction: Instruction) -> None:
        pairs = self._pairs(instruction)
        for name in pairs:
            if "=" in name:
                raise ConfigError(f"`{name[:40]}` cannot be a variable's name", where=instruction.at)
        arguments = {name: value for name, value in self._state.arguments.items() if name not in pairs}
        self._state = replace(self._state, env={**self._state.env, **pairs}, arguments=arguments)

    def _declare(self, instruction: Instruction) -> None:
        for name, default in forms.read_arguments(instruction, escape=self._escape):
            if name in self._given:
                value: str | None = self._given[name]
            elif default is not None:
                value = self._word(default, instruction.at)
            else:
                value = self._arguments.get(name)
            if value is not None:
                self._state = replace(self._state, arguments={**self._state.arguments, name: value})

    def _work_in(self, instruction: Instruction) -> None:
        path = self._word(instruction.text, instruction.at)
        if not path:
            raise ConfigError("the path of WORKDIR is empty once its variables are expanded", where=instruction.at)
        self._state = replace(self._state, workdir=absolute(self._state.workdir, path))
        if self._state.workdir != "/":
            self._operations.append(directory_of(instruction, self._state))

    def _command(self, instruction: Instruction) -> tuple[str, ...]:
        command = forms.read_command(instruction)
        return shell_argv(self._state, command.line) if command.argv is None else command.argv

    def _signal(self, instruction: Instruction) -> str:
        signal = self._word(instruction.text, instruction.at)
        check_signal(signal, at=instruction.at)
        return signal

    def _ports(self, instruction: Instruction) -> list[str]:
        env, at = variables(self._state), instruction.at
        try:
            words = [expand_words(text, env, escape=self._escape) for text in forms.read_words(instruction)]
        except WordError as error:
            raise ConfigError(str(error), where=at) from error
        return [port for found in words for word in found for port in ports_of(word, at=at)]

    def _volumes(self, instruction: Instruction) -> list[str]:
        volumes = [self._word(word, instruction.at).strip() for word in forms.read_list(instruction)]
        if not volumes or not all(volumes):
            raise ConfigError("VOLUME needs paths, none of them empty", where=instruction.at)
        return volumes


def _kept(instruction: Instruction) -> str:
    """Return what ONBUILD keeps, as text that can be read again."""
    return "\n".join((instruction.text, *(f"{heredoc.text}{heredoc.name}" for heredoc in instruction.heredocs)))

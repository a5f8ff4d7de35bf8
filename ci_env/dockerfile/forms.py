"""The forms that instructions are written in: words, pairs, JSON lists, flags. Reads them, and expands nothing. Pure.

ConfigError names the line of what is malformed or not supported: nothing is ever left out silently.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import cast

from ci_env.dockerfile.lines import heredoc_start
from ci_env.dockerfile.model import Heredoc, Instruction
from ci_env.dockerfile.words import split
from ci_env.errors import ConfigError
from ci_env.frozen import dataclass
from ci_env.pipeline.suggest import did_you_mean

_GAP = re.compile(r"[\t\v\f\r ]+")
_REMOTE = re.compile(r"(https?|git|ssh)://|[\w.-]+@[\w.-]+:", re.IGNORECASE)
_OCTAL = re.compile(r"0*[0-7]{1,4}")

_FLAGS: Mapping[str, tuple[str, ...]] = {
    "ADD": ("chmod", "chown", "link", "unpack"),
    "COPY": ("chmod", "chown", "from", "link"),
    "FROM": ("platform",),
    "HEALTHCHECK": ("interval", "retries", "start-interval", "start-period", "timeout"),
    "RUN": ("mount", "network"),
}
_UNSUPPORTED_FLAGS: Mapping[str, tuple[str, ...]] = {
    "ADD": ("checksum", "exclude", "keep-git-dir"),
    "COPY": ("exclude", "parents"),
    "RUN": ("device", "security"),
}
_SWITCHES = frozenset({"link", "unpack"})
_REPEATABLE = frozenset({"mount"})


@dataclass(frozen=True, slots=True)
class Command:
    """What RUN, CMD, ENTRYPOINT and SHELL say: a line for a shell, or an argv."""

    line: str
    argv: tuple[str, ...] | None
    """None: the line is for a shell"""


@dataclass(frozen=True, slots=True)
class Transfer:
    """What COPY and ADD say."""

    sources: tuple[str, ...]
    heredocs: tuple[Heredoc, ...]
    destination: str


def read_flags(instruction: Instruction) -> Mapping[str, tuple[str, ...]]:
    """Return the values of each flag that is there."""
    keyword, found = instruction.keyword, dict[str, tuple[str, ...]]()
    known = _FLAGS.get(keyword, ())
    for name, value in instruction.flags:
        if name in _UNSUPPORTED_FLAGS.get(keyword, ()):
            raise ConfigError(f"`{keyword} --{name}` is not supported", where=instruction.at)
        if name not in known:
            suggestion = did_you_mean(name, known, before="--")
            raise ConfigError(f"{keyword} has no flag `--{name[:40]}`{suggestion}", where=instruction.at)
        if name in found and name not in _REPEATABLE:
            raise ConfigError(f"`--{name}` is there twice", where=instruction.at)
        if name in _SWITCHES and value.lower() not in {"", "false", "true"}:
            raise ConfigError(f"`--{name}` is `true` or `false`, not `{value[:40]}`", where=instruction.at)
        if name not in _SWITCHES and not value:
            raise ConfigError(f"`--{name}` needs a value, as in `--{name}=VALUE`", where=instruction.at)
        found[name] = (*found.get(name, ()), value)
    return found


def read_switch(flags: Mapping[str, Sequence[str]], name: str, *, default: bool) -> bool:
    """Return whether a switch is on: `--name`, `--name=true`."""
    return flags[name][0].lower() != "false" if name in flags else default


def read_words(instruction: Instruction) -> tuple[str, ...]:
    """Return words between spaces; quotes do not hold any together."""
    return tuple(_GAP.split(instruction.text)) if instruction.text else ()


def read_list(instruction: Instruction) -> tuple[str, ...]:
    """Return the items of a JSON list, or words between spaces."""
    return read_words(instruction) if (items := _json_list(instruction.text, instruction.at)) is None else items


def read_command(instruction: Instruction, *, text: str | None = None) -> Command:
    """Return the command that the instruction, or a part of its text, consists of."""
    line = instruction.text if text is None else text
    if not line:
        raise ConfigError(f"{instruction.keyword} needs a command", where=instruction.at)
    return Command(line, _json_list(line, instruction.at))


def read_pairs(instruction: Instruction, *, escape: str) -> tuple[tuple[str, str], ...]:
    """Return what ENV and LABEL set: `NAME=value ...`, or in the old form one `NAME value` up to the end."""
    words = split(instruction.text, escape=escape)
    if not words:
        raise _too_few(instruction, "NAME=value")
    if "=" not in words[0]:
        name, *value = _GAP.split(instruction.text, maxsplit=1)
        if not value:
            raise ConfigError(f"`{name[:40]}` has no value; write `{name[:40]}=value`", where=instruction.at)
        return ((name, value[0]),)
    return tuple(_pair(word, instruction) for word in words)


def read_arguments(instruction: Instruction, *, escape: str) -> tuple[tuple[str, str | None], ...]:
    """Return what ARG declares: names, some of them with a default."""
    words = split(instruction.text, escape=escape)
    if not words:
        raise _too_few(instruction, "NAME")
    return tuple(_pair(word, instruction) if "=" in word else (word, None) for word in words)


def _pair(word: str, instruction: Instruction) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals:
        raise ConfigError(f"`{word[:40]}` has no `=`; write NAME=value", where=instruction.at)
    if not name:
        raise ConfigError(f"`{word[:40]}` has no name before the `=`", where=instruction.at)
    return name, value


def read_transfer(instruction: Instruction) -> Transfer:
    """Return what is to be copied where."""
    keyword, at = instruction.keyword, instruction.at
    words = read_list(instruction)
    if len(words) < 2:
        raise ConfigError(f"{keyword} needs what to copy, and where to", where=at)
    *sources, destination = words
    if heredoc_start(destination):
        raise ConfigError(f"a heredoc cannot be where {keyword} copies to", where=at)
    plain = tuple(source for source in sources if heredoc_start(source) is None)
    if len(sources) - len(plain) != len(instruction.heredocs):
        raise ConfigError(f"a heredoc of {keyword} must be a word of its own, as in `<<NAME`", where=at)
    for source in plain:
        check_local(source, instruction)
    for heredoc in instruction.heredocs:
        if "/" in heredoc.name or heredoc.name in {".", ".."}:
            raise ConfigError(f"the heredoc `{heredoc.name[:40]}` of {keyword} is no file's name", where=at)
    return Transfer(plain, instruction.heredocs, destination)


def check_local(source: str, instruction: Instruction) -> None:
    """Refuse what would have to be downloaded."""
    if _REMOTE.match(source):
        raise ConfigError(
            f"{instruction.keyword} of a URL or a git repository is not supported: {source[:100]}",
            where=instruction.at,
            hint="download it with RUN, and check its digest there",
        )


def read_mode(text: str, instruction: Instruction) -> int:
    """Return the permissions that `--chmod` sets."""
    if not _OCTAL.fullmatch(text):
        raise ConfigError(f"`--chmod` needs an octal number up to 7777, not `{text[:40]}`", where=instruction.at)
    return int(text, 8)


def read_one(instruction: Instruction, what: str) -> str:
    """Return the text of an instruction that has nothing else; `what` it is, for the message if it is empty."""
    if not instruction.text:
        raise _too_few(instruction, what)
    return instruction.text


def _too_few(instruction: Instruction, what: str) -> ConfigError:
    return ConfigError(f"{instruction.keyword} needs {what}", where=instruction.at)


def _json_list(text: str, at: str) -> tuple[str, ...] | None:
    """Return the texts of a JSON list; None: it is none, and means itself. ConfigError for a list of other things."""
    if not text.startswith("["):
        return None
    try:
        items = cast("list[object]", json.loads(text, parse_constant=_refuse_constant))
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(item, str) for item in items):
        raise ConfigError("a JSON list of anything but texts", where=at, hint='write ["program", "argument"]')
    found = tuple(_scalar_values(cast("str", item)) for item in items)
    if any("\0" in item for item in found):
        raise ConfigError("a NUL character", where=at)
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON, but Python reads it")


def _scalar_values(text: str) -> str:
    r"""Return the text without halves of pairs such as `\ud800`, which no file can hold; Go replaces them, too."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

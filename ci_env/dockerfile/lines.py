"""From a Dockerfile's text to its instructions: directives, comments, continued lines, heredocs, flags. Pure.

Owns the layout of the file, which is BuildKit's (frontend/dockerfile/parser/parser.go); what an instruction may say is
forms.py's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ci_env.dockerfile.model import Heredoc, Instruction
from ci_env.dockerfile.words import SPACES, WordError, name_words, raw_words
from ci_env.errors import ConfigError
from ci_env.frozen import dataclass, replace
from ci_env.pipeline.suggest import did_you_mean

KEYWORDS = (
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD",
    "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(\S.*)")
_DIRECTIVES = frozenset({"check", "escape", "syntax"})
_SYNTAX = re.compile(r"(docker\.io/)?docker/dockerfile(-upstream)?(:[\w.-]+)?(@sha256:[0-9a-f]{64})?")
_GAP = re.compile(r"[\t\v\f\r ]+")
_HEREDOC = re.compile(r"\d*<<(?P<chomp>-?)[\t\n\f\r ]*(?P<name>[^<\t\n\f\r ][^<]*)")
_ASCII_SPACES = "\t\n\v\f\r "
_WITH_HEREDOCS = frozenset({"ADD", "COPY", "RUN"})


@dataclass(frozen=True, slots=True)
class Written:
    """What a file consists of."""

    instructions: tuple[Instruction, ...]
    escape: str


def read_lines(text: str, *, file: str) -> Written:
    """Return the instructions of `text`; ConfigError with the line of what is wrong."""
    if "\0" in text:
        raise ConfigError("a NUL character", where=f"{file}:{text.count(chr(10), 0, text.index(chr(0))) + 1}")
    lines = _Lines(text.removeprefix("\ufeff"), file)
    escape = _directives(lines)
    return Written(tuple(_instructions(lines, escape)), escape)


def split_instruction(line: str, heredocs: Sequence[Heredoc], *, escape: str, at: str) -> Instruction:
    """Return the instruction on one line, of which `heredocs` have been taken out; ConfigError if there is no such."""
    keyword, *rest = _GAP.split(line.strip(SPACES), maxsplit=1)
    known = keyword.upper()
    if known not in KEYWORDS:
        raise ConfigError(f"unknown instruction `{keyword[:40]}`{did_you_mean(known, KEYWORDS)}", where=at)
    flags, text = _split_flags(rest[0] if rest else "", escape)
    return Instruction(known, tuple(flags), text.strip(SPACES), tuple(heredocs), at)


def heredoc_start(word: str) -> tuple[str, bool, bool] | None:
    """Return name, whether tabs are cut off, and whether variables count, if `word` is `<<NAME` as a whole."""
    match = _HEREDOC.fullmatch(word)
    if match is None:
        return None
    try:
        names = name_words(match["name"])
        raw = raw_words(match["name"])
    except WordError:
        return None
    if len(names) != 1 or len(raw) != 1:
        return None
    is_quoted = _quotes(names[0]) != _quotes(raw[0])
    return names[0], bool(match["chomp"]), not is_quoted


def _quotes(word: str) -> int:
    return word.count("'") + word.count('"')


class _Lines:
    """The lines that are still to be read, each with its end."""

    def __init__(self, text: str, file: str) -> None:
        self._lines = re.findall(r"[^\n]*\n|[^\n]+", text)
        self._file = file
        self.number = 0
        """of the line read last, from 1"""

    @property
    def at(self) -> str:
        return f"{self._file}:{self.number}"

    def peek(self) -> str | None:
        return self._lines[self.number] if self.number < len(self._lines) else None

    def next(self) -> str | None:
        line = self.peek()
        self.number += line is not None
        return line


def _directives(lines: _Lines) -> str:
    """Read the directives at the start of the file; return the escape."""
    seen: dict[str, str] = {}
    while (line := lines.peek()) is not None:
        match = _DIRECTIVE.match(line.strip(SPACES))
        name = match[1].lower() if match else ""
        if match is None or name not in _DIRECTIVES:
            break
        lines.next()
        if name in seen:
            raise ConfigError(f"the directive `{name}` is there twice", where=lines.at)
        seen[name] = match[2]
        _check_directive(name, match[2], at=lines.at)
    return seen.get("escape", "\\")


def _check_directive(name: str, value: str, *, at: str) -> None:
    if name == "escape" and value not in {"\\", "`"}:
        raise ConfigError(f"the escape is `\\` or `` ` ``, not `{value[:40]}`", where=at)
    if name == "syntax" and not _SYNTAX.fullmatch(value):
        raise ConfigError(
            f"the syntax `{value[:100]}` is not supported",
            where=at,
            hint="only docker/dockerfile is known; leave the line out if the file needs nothing else",
        )


def _instructions(lines: _Lines, escape: str) -> Iterator[Instruction]:
    while (line := lines.next()) is not None:
        stripped = line.strip(SPACES)
        if not stripped or stripped.startswith("#"):
            continue
        at = lines.at
        joined = _joined(line.lstrip(SPACES), lines, escape)
        if not joined.strip(SPACES):
            raise ConfigError(f"a `{escape}` continues a line without an instruction", where=at)
        instruction = split_instruction(joined, (), escape=escape, at=at)
        heredocs = tuple(_heredocs(instruction, joined, lines))
        yield replace(instruction, heredocs=heredocs)


def _joined(line: str, lines: _Lines, escape: str) -> str:
    """Return the line with those that continue it; comments and empty lines among them are left out."""
    pieces: list[str] = []
    piece, continues = _cut_escape(line, escape)
    pieces.append(piece)
    while continues and (following := lines.next()) is not None:
        stripped = following.strip(SPACES)
        if stripped and not stripped.startswith("#"):
            piece, continues = _cut_escape(following, escape)
            pieces.append(piece)
    return "".join(pieces)


def _cut_escape(line: str, escape: str) -> tuple[str, bool]:
    """Return the line without its end, and whether it continues: a single escape is last, spaces may follow."""
    line = line.rstrip("\r\n")
    stem = line.rstrip("\t ")
    if not stem.endswith(escape) or stem.endswith(escape * 2):
        return line, False
    return stem[:-1], True


def _heredocs(instruction: Instruction, line: str, lines: _Lines) -> Iterator[Heredoc]:
    keyword = instruction.keyword
    if keyword == "ONBUILD":
        keyword = _GAP.split(instruction.text, maxsplit=1)[0].upper()
    if keyword not in _WITH_HEREDOCS or "<<" not in line:
        return
    try:
        words = raw_words(line)
    except WordError:
        return  # a shell may well understand what we do not
    for start in filter(None, map(heredoc_start, words)):
        name, is_chomped, is_expanded = start
        yield Heredoc(name, _heredoc_text(name, lines, is_chomped=is_chomped, at=instruction.at), is_expanded)


def _heredoc_text(name: str, lines: _Lines, *, is_chomped: bool, at: str) -> str:
    found: list[str] = []
    while (line := lines.next()) is not None:
        line = line.lstrip("\t") if is_chomped else line
        if line.rstrip("\r\n") == name:
            return "".join(found)
        found.append(line)
    raise ConfigError(f"the heredoc `{name[:40]}` is not ended", where=at)


def _split_flags(text: str, escape: str) -> tuple[list[tuple[str, str]], str]:
    """Return the `--name=value` that come first, without their quotes, and the rest."""
    flags: list[tuple[str, str]] = []
    text = text.lstrip(_ASCII_SPACES)
    while text.startswith("--"):
        word, text = _flag(text, escape)
        text = text.lstrip(_ASCII_SPACES)
        if word == "--":
            break
        name, equals, value = word.removeprefix("--").partition("=")
        flags.append((name, value if equals else ""))
    return flags, text


def _flag(text: str, escape: str) -> tuple[str, str]:
    """Return the first word, without its quotes and escapes, and what follows."""
    word: list[str] = []
    quote, at = "", 0
    while at < len(text) and (quote or text[at] not in _ASCII_SPACES):
        letter = text[at]
        at += 1
        if letter == escape:
            word.append(text[at : at + 1])
            at += 1
        elif letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote = letter
        else:
            word.append(letter)
    return "".join(word), text[at:]

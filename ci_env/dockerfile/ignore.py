r"""Patterns of `.dockerignore`, and those of COPY's sources: Go's filepath.Match. Sees paths, never the disk. Pure.

    *.pyc, a?c, [a-z], [^a-z]   any letters but a slash, one such letter, one of a set, one that is not in it
    **/x, x/**, a/**/b          `**` stands for any directories, or none; only in .dockerignore
    docs                        this path and everything below it
    !docs/keep.md               an exception; the last line that matches counts
    # text                      a comment, if it is the line's first letter
    \*                          the letter itself

Rules: moby/patternmatcher, with its ignorefile package. Paths are relative to the context's root.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ci_env.dockerfile.words import SPACES
from ci_env.errors import ConfigError
from ci_env.frozen import dataclass
from ci_env.letters import letters

_TOKEN = re.compile(
    r"""
    (?P<directories> (?:\*\*/)*\*\*/ )
    | (?P<several> \*\* )
    | (?P<star> \* )
    | (?P<any> \? )
    | \[ (?P<negated> \^? ) (?P<letters> (?: \\. | [^\\\]] )+ ) \]
    | \\ (?P<escaped> . )
    | (?P<literal> [^\\\[] )
    """,
    re.DOTALL | re.VERBOSE,
)
_RANGE = re.compile(r"\\?(?P<first>.)-\\?(?P<last>.)|\\?(?P<letter>.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the file."""

    expression: re.Pattern[str]
    """matches the paths that it names; what lies below them is meant, too"""
    is_exception: bool


@dataclass(frozen=True, slots=True)
class Ignore:
    """What a build's context does not have."""

    rules: tuple[Rule, ...]

    @staticmethod
    def parse(text: str, *, file: str) -> Ignore:
        """Return the rules in a file's text; ConfigError with the line of a malformed pattern."""
        lines = enumerate(text.removeprefix("\ufeff").split("\n"), start=1)
        return Ignore(tuple(rule for number, line in lines for rule in _rules(line, at=f"{file}:{number}")))

    def is_ignored(self, path: str) -> bool:
        """Tell whether the context lacks `path`. A directory that is ignored may have files in it that are not."""
        found = False
        prefixes = tuple(_prefixes(path))
        for rule in self.rules:
            if rule.is_exception == found and any(map(rule.expression.fullmatch, prefixes)):
                found = not rule.is_exception
        return found

    @property
    def has_exceptions(self) -> bool:
        """Tell whether an ignored directory must be looked into all the same."""
        return any(rule.is_exception for rule in self.rules)


def matches(pattern: str, path: str) -> bool:
    """Tell whether a source of COPY names `path`, by Go's filepath.Match; ValueError for a malformed pattern."""
    parts, names = pattern.split("/"), path.split("/")
    return len(parts) == len(names) and all(
        re.fullmatch(_expression(part, has_directories=False), name) for part, name in zip(parts, names, strict=True)
    )


def _rules(line: str, *, at: str) -> Iterator[Rule]:
    pattern = "" if line.startswith("#") else line.strip(SPACES)
    if not pattern:
        return
    is_exception = pattern.startswith("!")
    pattern = pattern.removeprefix("!").strip(SPACES)
    if not pattern:
        raise ConfigError("`!` without a pattern", where=at)
    try:
        expression = _expression(_clean(pattern).strip(SPACES), has_directories=True)
    except ValueError as error:
        raise ConfigError(str(error), where=at) from error
    if expression:  # the root, as `/` or `.`, is always there
        yield Rule(re.compile(expression), is_exception)


def _clean(pattern: str) -> str:
    """Return the pattern without a leading slash, and with `.` and `..` worked out as in a path."""
    names: list[str] = []
    for name in pattern.split("/"):
        if name == ".." and names and names[-1] != "..":
            names.pop()
        elif name == ".." and pattern.startswith("/"):
            continue
        elif name not in {"", "."}:
            names.append(name)
    return "/".join(names)


def _prefixes(path: str) -> Iterator[str]:
    yield path
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _expression(pattern: str, *, has_directories: bool) -> str:
    """Return what matches as an expression. Between two stars of a name the first place that fits is as good as any."""
    tokens = list(_tokens(pattern, has_directories=has_directories))
    result: list[str] = []
    segment: list[str] | None = None
    for kind, expression in tokens:
        if kind == "star" and segment is not None:
            result.append(f"(?>[^/]*?{''.join(segment)})")
            segment = []
        elif kind == "star":
            segment = []
        elif segment is not None and kind in {"many", "slash"}:
            result.append(f"[^/]*{''.join(segment)}{expression}")
            segment = None
        elif segment is not None:
            segment.append(expression)
        else:
            result.append(expression)
    if segment is not None:
        result.append(f"[^/]*{''.join(segment)}")
    return "".join(result)


def _tokens(pattern: str, *, has_directories: bool) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None:
            raise ValueError(f"`{pattern[:80]}` is not a pattern: a `[` or `\\` is not ended")
        at = token.end()
        if (token["directories"] or token["several"]) and has_directories:
            yield "many", _directories(token, pattern)
        elif token["directories"]:
            yield from (("star", ""), ("slash", "/"))
        elif token["several"] or token["star"]:
            yield "star", ""
        elif token["any"]:
            yield "one", "[^/]"
        elif token["letters"]:
            yield "one", _letters(token["letters"], pattern, negated=bool(token["negated"]))
        else:
            letter = token["escaped"] or token["literal"]
            yield ("slash" if letter == "/" else "one"), re.escape(letter)


def _directories(token: re.Match[str], pattern: str) -> str:
    """Return what `**` stands for: at the end anything, and elsewhere nothing or what ends with a slash."""
    if token.end() == len(pattern):
        return "(?s:.*)"
    if token.start() == 0 and token["several"] and not re.search(r"[*?\[\]\\]", pattern[token.end() :]):
        return "(?s:.*)"  # `**.pyc`: a suffix of the path, wherever it begins
    return "(?:(?s:.*)/)?"


def _letters(written: str, pattern: str, *, negated: bool) -> str:
    try:
        return f"(?!/)[{'^' if negated else ''}{letters(_RANGE.finditer(written))}]"
    except ValueError as error:
        raise ValueError(f"`{pattern[:80]}` has a range that runs backwards: `{error}`") from error

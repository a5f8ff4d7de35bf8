r"""The patterns of `inputs:`. Owns their language; pure: sees a listing, never the disk.

    src/main.py     this file
    src, src/       everything below this directory; with the slash never a file
    src/*.py        `*` and `?` stand for anything but a slash, `[a-z]` and `[!a-z]` for one letter of a set
    **/*.py         `**/` stands for any directories or none, `**` at the end for everything below
    docs/*/         everything below these directories; without the slash, a pattern with wildcards means files only
    .               everything
    !src/gen/       leaves out what it matches; later patterns win; a list that begins so begins with everything
    \!odd, \*       the letter itself

Paths are relative to the source's root, wherever the pipeline file lies in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ci_env.letters import letters
from ci_env.tree import Entry

_TOKEN = re.compile(
    r"""
    (?P<directories> (?:(?<=/)|\A) \*\*/ )
    | (?P<below> (?:(?<=/)|\A) \*\*\Z )
    | (?P<stars> \*+ )
    | (?P<any> \? )
    | \[ (?P<negated> [!^]? ) (?P<letters> .[^]]* ) \]
    | \\ (?P<escaped> . )
    | (?P<literal> . )
    """,
    re.DOTALL | re.VERBOSE,
)
_RANGE = re.compile(r"(?P<first>.)-(?P<last>.)|(?P<letter>.)", re.DOTALL)
_FIXED = {"directories": "(?:.*/)?", "below": ".+", "stars": "[^/]*", "any": "[^/]"}


class PatternError(ValueError):
    """A pattern that is malformed, or that matches nothing: then `nearest` may be the path that was meant."""

    def __init__(self, pattern: str, reason: str, *, nearest: str | None = None) -> None:
        super().__init__(f"{pattern!r} {reason}")
        self.pattern = pattern
        self.reason = reason
        self.nearest = nearest


def select(entries: Sequence[Entry], patterns: Sequence[str]) -> tuple[Entry, ...]:
    """Return the entries that `patterns` choose, in their order.

    PatternError for a malformed pattern, and for one that matches none of `entries`, unless it leaves out: what must
    not be there may well be absent.
    """
    chosen = {entry.path for entry in entries} if patterns and patterns[0].startswith("!") else set[str]()
    for pattern in patterns:
        matches = compile_pattern(pattern).fullmatch
        matched = {entry.path for entry in entries if matches(entry.path)}
        if pattern.startswith("!"):
            chosen -= matched
        elif matched:
            chosen |= matched
        else:
            raise PatternError(pattern, "matches no file of the source", nearest=_nearest(pattern, entries))
    return tuple(entry for entry in entries if entry.path in chosen)


def chooser(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Return what tells whether `patterns` choose a path, where one that matches nothing is no mistake.

    PatternError for a malformed one.
    """
    rules = [(compile_pattern(pattern).fullmatch, not pattern.startswith("!")) for pattern in reversed(patterns)]
    begins = bool(patterns) and patterns[0].startswith("!")
    return lambda path: next((chooses for matches, chooses in rules if matches(path)), begins)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return what `pattern` matches, or leaves out, as an expression over whole paths; PatternError if malformed."""
    glob = pattern.removeprefix("!")
    glob = "**" if glob in {".", "./"} else glob.removeprefix("./")
    stem = glob.removesuffix("/")
    if not {"", ".", ".."}.isdisjoint(stem.split("/")):
        raise PatternError(pattern, "is not a path below the source's root without empty, `.` or `..` parts")
    tokens = list(_TOKEN.finditer(stem))
    body = "".join(_translate(token, pattern) for token in tokens)
    if stem != glob:
        return re.compile(f"{body}/.*", re.DOTALL)
    is_plain = all(token.lastgroup in {"literal", "escaped"} for token in tokens)
    return re.compile(f"{body}(?:/.*)?" if is_plain else body, re.DOTALL)


def _translate(token: re.Match[str], pattern: str) -> str:
    kind = token.lastgroup or ""
    if kind in _FIXED:
        return _FIXED[kind]
    if kind == "letters":
        return _translate_set(token["letters"], pattern, negated=bool(token["negated"]))
    if token["literal"] == "[":
        raise PatternError(pattern, "has a `[` without its `]`; write `\\[` for the letter")
    if token["literal"] == "\\":
        raise PatternError(pattern, "ends in a backslash; write `\\\\` for the letter")
    return re.escape(token[kind])


def _translate_set(written: str, pattern: str, *, negated: bool) -> str:
    """Return the set as an expression; never a slash, though a range such as `[+-9]` spans it."""
    try:
        return f"(?!/)[{'^' if negated else ''}{letters(_RANGE.finditer(written))}]"
    except ValueError as error:
        raise PatternError(pattern, f"has a range that runs backwards: `{error}`") from error


def _nearest(pattern: str, entries: Sequence[Entry]) -> str | None:
    """Return the file or directory whose path looks most like `pattern`."""
    import difflib  # costs 5 ms, and only a mistake needs it

    paths = dict.fromkeys(parent for entry in entries for parent in _with_parents(entry.path))
    return next(iter(difflib.get_close_matches(pattern.removesuffix("/"), paths, n=1)), None)


def _with_parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]

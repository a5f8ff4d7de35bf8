"""Which files of a tree the sources of a COPY name. Owns the language of Go's filepath.Match; knows no file system.

`*` and `?` stand for anything but a slash, `[a-z]` and `[^a-z]` for one letter of a set, `\\` takes a letter's meaning
away. A tree's *real paths* are those of merged.py: bytes, without symlinks; b"" is the root.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from ci_env.letters import letters

_WILD = re.compile(r"(?:[^\\*?\[]|\\.)*[*?\[]", re.DOTALL)
_TOKEN = re.compile(
    r"""
    (?P<stars> \*+ )
    | (?P<any> \? )
    | \[ (?P<negated> \^? ) (?P<letters> (?: \\. | [^\\\]] )+ ) \]
    | \\ (?P<escaped> . )
    | (?P<literal> [^\\\[] )
    """,
    re.DOTALL | re.VERBOSE,
)
_RANGE = re.compile(r"\\?(?P<first>.)-\\?(?P<last>.)|\\?(?P<letter>.)", re.DOTALL)


class Tree(Protocol):
    """A tree of files with symlinks in it."""

    def follow(self, path: bytes) -> bytes | None:
        """Return the real path that `path` leads to, every symlink followed inside the root; None: nothing is there."""
        ...

    def names(self, path: bytes) -> Iterable[bytes]:
        """Return the names in the directory at a real path; none where it is no directory."""
        ...


def expand(tree: Tree, source: str) -> tuple[bytes, ...] | None:
    """Return the paths that `source` means, in order: its last name may be a symlink. None: what it names is not there.

    Wildcards may match nothing at all, as in docker; links are not followed where they match. ValueError for a
    malformed pattern.
    """
    parts = split(source)
    wild = next((number for number, part in enumerate(parts) if _WILD.match(part)), len(parts))
    fixed = b"".join(b"/" + os.fsencode(_unescaped(part)) for part in parts[:wild])
    top = tree.follow(fixed)
    if wild == len(parts) or top is None:
        return None if top is None else (fixed,)
    found: Sequence[bytes] = (top,)
    for part in parts[wild:]:
        matches = compile_part(part).fullmatch
        found = [
            path + b"/" + name for path in found for name in sorted(tree.names(path)) if matches(os.fsdecode(name))
        ]
    return tuple(found)


def split(source: str) -> list[str]:
    """Return the names in a path, `.` and `..` worked out; `..` stays in the root."""
    parts: list[str] = []
    for part in source.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return parts


@functools.cache
def compile_part(pattern: str) -> re.Pattern[str]:
    """Return what matches one name of a path; ValueError for a malformed pattern.

    Between two stars the first place that fits is as good as any later one, so nothing is tried twice: however many
    stars there are, time grows with the name's length only.
    """
    parts, at = [""], 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None:
            raise ValueError(f"{pattern!r} is not a pattern: a `[` or `\\` is not ended")
        if token["stars"]:
            parts.append("")
        else:
            parts[-1] += _expression(token)
        at = token.end()
    first, *middle = parts[:-1] or parts
    inner = "".join(f"(?>.*?{part})" for part in middle)
    return re.compile(f"{first}{inner}.*{parts[-1]}" if len(parts) > 1 else first, re.DOTALL)


def _expression(token: re.Match[str]) -> str:
    if token["any"]:
        return "."
    if token["letters"]:
        return f"[{token['negated']}{_set(token['letters'])}]"
    return re.escape(token["escaped"] or token["literal"])


def _set(written: str) -> str:
    try:
        return letters(_RANGE.finditer(written))
    except ValueError as error:
        raise ValueError(f"{str(error)!r} is not a range of letters") from error


def _unescaped(part: str) -> str:
    return re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL)

r"""The patterns in `${NAME#glob}` and `${NAME/glob/word}`: `*` any letters, `?` one, `\` before it the letter. Pure.

Neither stands for a line's end, as in BuildKit. Time grows with the value's length only, however many `*` there are:
between two of them the first place that fits is as good as any later one, so nothing is tried twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_TOKEN = re.compile(r"\\(?P<escaped>[*?\\/}])|(?P<bad>\\.?)|(?P<plain>.)", re.DOTALL)
_MAX_REPLACED = 10_000


def trim(value: str, pattern: str, *, is_end: bool, is_longest: bool) -> str:
    """Return `value` without the beginning (or the end) that `pattern` matches; ValueError if malformed."""
    parts = _parts(pattern)
    if is_end:
        parts = [part[::-1] for part in reversed(parts)]
        value = value[::-1]
    match = re.match(_expression(parts, is_longest=is_longest), value)
    rest = value[match.end() :] if match else value
    return rest[::-1] if is_end else rest


def replace(value: str, pattern: str, word: str, *, is_all: bool) -> str:
    """Return `value` with `word` for the first match of `pattern`, or for all; ValueError if malformed.

    ValueError also for a pattern with `*` and a value so long that it would take seconds.
    """
    parts = _parts(pattern)
    if len(parts) > 1 and len(value) > _MAX_REPLACED:
        raise ValueError(f"a pattern with `*` cannot be replaced in more than {_MAX_REPLACED} letters")
    result, done = "", 0
    for match in re.finditer(_expression(parts, is_longest=True), value):
        if match.end() == match.start() == done and done:
            continue  # Go finds nothing empty where a match has just ended
        result += value[done : match.start()] + word
        done = match.end()
        if not is_all:
            break
    return result + value[done:]


def _parts(pattern: str) -> list[list[str]]:
    """Return what lies between the `*`, as expressions for one letter each."""
    parts: list[list[str]] = [[]]
    for token in _TOKEN.finditer(pattern):
        if token["bad"]:
            raise ValueError(f"`{token[0]}` is no escape in the pattern `{pattern}`")
        if token["plain"] == "*":
            parts.append([])
        else:
            parts[-1].append("." if token["plain"] == "?" else re.escape(token["plain"] or token["escaped"]))
    return parts


def _expression(parts: Sequence[Sequence[str]], *, is_longest: bool) -> str:
    first, *rest = ["".join(part) for part in parts]
    if not rest:
        return first
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1])
    return f"{first}{middle}.*{'' if is_longest else '?'}{rest[-1]}"

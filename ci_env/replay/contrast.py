"""What two executions of a step have left differently, and of which kind that is, by the bytes. Pure."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, cast

from ci_env.frozen import dataclass
from ci_env.plan.variation import Change, Circumstance

Kind = Circumstance | Literal["timestamp", "order", "path", "randomness", "user", "unknown"]

_SLACK_S = 86_400
_NUMBER = re.compile(rb"\d+")
_CLOCK = re.compile(
    rb"\d{4}-\d\d-\d\d(?:[T _]\d\d[:.]?\d\d(?:[:.]?\d\d)?(?:[.,]\d+)?)?"
    rb"|\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?"
    rb"|\b(?:19|20)\d\d[01]\d[0-3]\d(?:[T_-]?[0-2]\d[0-5]\d(?:[0-5]\d)?)?\b"
)
_PATH = re.compile(rb"/[\w.+~@%-]+(?:/[\w.+~@%-]+)*")
_DIGITS = {9: 1, 10: 1, 13: 1000, 16: 10**6, 19: 10**9}
"""of seconds, milliseconds, …, and how many of them a second has"""


@dataclass(frozen=True, slots=True)
class Contrast:
    """One path that differs."""

    path: str
    how: str
    modes: tuple[int | None, int | None]
    at: int | None = None
    """the first byte that differs; None: it is not a matter of bytes"""
    before: bytes = b""
    """what comes right before it"""
    was: bytes = b""
    now: bytes = b""
    """what comes from it on, cut"""
    is_permuted: bool = False
    """both contents have the same parts, in another order"""
    files: tuple[str, str] | None = None


def contrasts_of(answer: Mapping[str, object]) -> tuple[Contrast, ...]:
    """Return what oci/layer_contrast.py has answered."""
    return tuple(_contrast(one) for one in cast("list[dict[str, object]]", answer["contrasts"]))


def _contrast(facts: Mapping[str, object]) -> Contrast:
    modes = cast("list[int | None]", facts["modes"])
    files = cast("list[str] | None", facts.get("files"))
    before, was, now = (b64decode(cast("str", facts.get(name, ""))) for name in ("before", "was", "now"))
    return Contrast(
        path=cast("str", facts["path"]),
        how=cast("str", facts["how"]),
        modes=(modes[0], modes[1]),
        at=cast("int | None", facts.get("at")),
        before=before,
        was=was,
        now=now,
        is_permuted=bool(facts.get("is_permuted")),
        files=None if files is None else (files[0], files[1]),
    )


def kind_of(contrasts: Sequence[Contrast], changed: Sequence[Change], *, began_s: int, ended_s: int) -> Kind:
    """Return the kind of the first difference; a circumstance that was `changed` only if the bytes name it.

    `began_s` and `ended_s`: between which the steps ran, seconds since 1970.
    """
    first = contrasts[0]
    if first.how == "owner":
        return "user"
    if first.how in ("added", "removed"):
        return _kind_of_names(contrasts)
    if first.at is None:
        return "unknown"
    for change in changed:
        if change.circumstance == "processors":
            continue  # a number of one digit says nothing
        names = (change.usual, change.other)
        pairs = zip(names, _sides(first), strict=True)
        if all(_covers(re.compile(re.escape(name.encode())), text, len(first.before)) for name, text in pairs):
            return change.circumstance
    if first.is_permuted:
        return "order"
    if any(_is_time(text, len(first.before), began_s, ended_s) for text in _sides(first)):
        return "timestamp"
    if all(_covers(_PATH, text, len(first.before)) for text in _sides(first)):
        return "path"
    return "randomness"


def _kind_of_names(contrasts: Sequence[Contrast]) -> Kind:
    """Return the kind of names that only one side has: those of times, by their form, else of chance."""
    names = [one.path.rpartition("/")[2].encode(errors="replace") for one in contrasts if one.how != "content"]
    has_times = any(_CLOCK.search(name) or any(len(n) in _DIGITS for n in _NUMBER.findall(name)) for name in names)
    both = {one.how for one in contrasts} >= {"added", "removed"}
    return "timestamp" if has_times and both else "path" if both else "randomness"


def _sides(contrast: Contrast) -> tuple[bytes, bytes]:
    return contrast.before + contrast.was, contrast.before + contrast.now


def _is_time(text: bytes, at: int, began_s: int, ended_s: int) -> bool:
    """Tell whether what stands at `at` is a time: in words, or a number that is one of the time of the steps."""
    if _covers(_CLOCK, text, at):
        return True
    return any(began_s - _SLACK_S <= number <= ended_s + _SLACK_S for number in _numbers(text, at))


def _numbers(text: bytes, at: int) -> Iterator[int]:
    """Yield seconds that a number at `at` may mean: in digits, in octal as in tar, in four bytes as in gzip."""
    for match in _NUMBER.finditer(text):
        if match.start() <= at < match.end():
            digits = match[0]
            if len(digits) in _DIGITS:
                yield int(digits) // _DIGITS[len(digits)]
            if len(digits) == 11 and not set(digits) - set(b"01234567"):
                yield int(digits, 8)
    for start in range(max(at - 3, 0), at + 1):
        piece = text[start : start + 4]
        if len(piece) == 4:
            yield int.from_bytes(piece, "little")
            yield int.from_bytes(piece, "big")


def _covers(pattern: re.Pattern[bytes], text: bytes, at: int) -> bool:
    return any(match.start() <= at < match.end() for match in pattern.finditer(text))

"""How a comparison of two things looks on a terminal: a table with a column for each. Pure; owns columns, not words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from ci_env.frozen import dataclass
from ci_env.ui.clean import clean, shorten
from ci_env.ui.paint import Style, paint

NARROWEST = 60
_WIDEST = 160
_GAP = "  "
_LINES = 3
_LONGEST = 400


@dataclass(frozen=True, slots=True)
class Row:
    """What differs. Texts may hold anything; None in place of a value: there is none."""

    what: str
    old: str | None
    new: str | None
    note: str = ""
    """shown below, over the whole width"""
    parts: tuple[tuple[str, str | None, str | None], ...] = ()
    """of what it is made, each a row of its own below"""
    more: int = 0
    """how many parts are left out"""


def table(heads: tuple[str, str], rows: Sequence[Row], *, width: int, colour: bool) -> Iterator[str]:
    """Yield the lines, no longer than `width`, or NARROWEST; values are wrapped, and cut after three lines."""
    width = min(max(width, NARROWEST), _WIDEST)
    columns = _columns(rows, width)
    yield from (paint(line, "strong", colour=colour) for line in _lines(("", *heads), columns))
    for row in rows:
        yield from _lines((row.what, _value(row.old), _value(row.new)), columns, colour=colour)
        for what, old, new in row.parts:
            yield from _part(what, old, new, columns)
        if row.more:
            yield f"  and {row.more} more"
        for line in textwrap.wrap(_plain(row.note), width - 2):
            yield paint(f"  {line}", "dim", colour=colour)


def _columns(rows: Sequence[Row], width: int) -> tuple[int, int, int]:
    """Return the widths: the first two as they need, but no more than a third and a half of the rest."""
    names = [row.what for row in rows] + [f"  {what}" for row in rows for what, *values in row.parts if any(values)]
    first = min(max(map(len, names), default=1) or 1, width // 3)
    olds = [row.old for row in rows] + [old for row in rows for _, old, _ in row.parts]
    left = width - first - 2 * len(_GAP)
    second = min(max((len(_plain(old)) for old in olds if old), default=1), left // 2)
    return first, second, left - second


def _part(what: str, old: str | None, new: str | None, columns: tuple[int, int, int]) -> Iterator[str]:
    if old is None and new is None:
        yield shorten(f"  {_plain(what)}", sum(columns) + 2 * len(_GAP))
    else:
        yield from _lines((f"  {what}", _value(old), _value(new)), columns)


def _lines(cells: tuple[str, str, str], columns: tuple[int, int, int], *, colour: bool = False) -> Iterator[str]:
    wrapped = [_wrap(cell, width) for cell, width in zip(cells, columns, strict=True)]
    styles: tuple[Style, Style, Style] = ("strong", "plain", "plain")
    for place in range(max(map(len, wrapped))):
        line = [lines[place] if place < len(lines) else "" for lines in wrapped]
        padded = [f"{cell:{width}}" for cell, width in zip(line, columns, strict=True)]
        padded[-1] = padded[-1].rstrip()
        yield _GAP.join(paint(cell, style, colour=colour) for cell, style in zip(padded, styles, strict=True)).rstrip()


def _wrap(text: str, width: int) -> list[str]:
    """Return a cell as lines of at most `width` letters."""
    indent = "  " if text.startswith("  ") else ""
    whole = shorten(_plain(text).strip(), _LONGEST)
    lines = textwrap.wrap(whole, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], shorten(" ".join((lines[_LINES - 1], lines[_LINES].strip())), width)]
        lines[-1] = lines[-1] if lines[-1].endswith("…") else f"{lines[-1][: width - 1]}…"
    return lines or [""]


def _plain(text: str) -> str:
    return clean(text.replace("\n", " ")).expandtabs()


def _value(value: str | None) -> str:
    return "–" if value is None else value  # noqa: RUF001  # a dash of the width of other marks

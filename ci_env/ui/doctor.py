"""How host abilities look on a terminal. Pure; owns columns and wrapping, not where they are printed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from ci_env.ports import Ability

_GAP = 2
_MIN_WIDTH = 40
_STATE_WIDTH = len("degraded")


def render(abilities: Sequence[Ability], width: int) -> list[str]:
    """Return the lines: each ability with its cost and fix where it is not found, then whether steps can run.

    No line is longer than `width` (at least 40), but for commands and words that would not survive a break.
    """
    width = max(width, _MIN_WIDTH)
    column = max((len(ability.name) for ability in abilities), default=0) + _GAP
    lines = [line for ability in abilities for line in _ability(ability, column, width)]
    return [*lines, "", *_wrapped(_verdict(abilities), "", width)]


def can_run(abilities: Sequence[Ability]) -> bool:
    """Tell whether nothing is missing without which no step can run."""
    return not _lacking(abilities)


def _ability(ability: Ability, column: int, width: int) -> Iterator[str]:
    head = f"{ability.name:{column}}{ability.state:{_STATE_WIDTH + _GAP}}"
    yield from _wrapped(ability.detail, head, width)
    if ability.state == "found":
        return
    yield from _wrapped(ability.cost, "  cost: ", width)
    yield from _fix(ability.fix, width)


def _fix(fix: str, width: int) -> Iterator[str]:
    """Give the fix line by line. Commands (`$ …`) stay whole, so that they can be copied."""
    label = "  fix:  "
    for line in fix.splitlines():
        if line.startswith("$ "):
            yield " " * len(label) + line
        else:
            yield from _wrapped(line, label, width)
        label = " " * len(label)


def _wrapped(text: str, head: str, width: int) -> list[str]:
    indent = " " * len(head)
    lines = textwrap.wrap(
        text, width, initial_indent=head, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return lines or [head.rstrip()]


def _lacking(abilities: Sequence[Ability]) -> list[str]:
    return [ability.name for ability in abilities if ability.required and ability.state == "missing"]


def _verdict(abilities: Sequence[Ability]) -> str:
    lacking = _lacking(abilities)
    return f"This host cannot run steps; it lacks: {', '.join(lacking)}." if lacking else "This host can run steps."

"""Styles by meaning, and their colours on a terminal. Colour never says anything that words or marks do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ci_env.events import Status

Style = Literal["plain", "strong", "dim", "good", "bad", "warning", "known"]
State = Status | Literal["waiting", "running"]

MARKS: Mapping[State, str] = {
    "waiting": "·",
    "running": "▸",
    "passed": "✓",
    "cached": "●",
    "failed": "✗",
    "skipped": "–",  # noqa: RUF001  # a dash of the width of the other marks
    "cancelled": "■",
}
STYLES: Mapping[State, Style] = {
    "waiting": "dim",
    "running": "strong",
    "passed": "good",
    "cached": "known",
    "failed": "bad",
    "skipped": "dim",
    "cancelled": "warning",
}
_SGR: Mapping[Style, str] = {"strong": "1", "dim": "2", "good": "32", "bad": "31", "warning": "33", "known": "36"}


def paint(text: str, style: Style, *, colour: bool) -> str:
    """Return `text` with the colour of `style` around it."""
    return f"\x1b[{_SGR[style]}m{text}\x1b[0m" if colour and text and style in _SGR else text

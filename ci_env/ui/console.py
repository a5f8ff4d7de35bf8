"""The live view of a run, and rich's only door. Imported only when something is to be watched on a terminal.

Text never reaches rich as markup: it is cleaned before (rows.py) and handed over as Text.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import IO, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from ci_env.ui.board import Board
from ci_env.ui.paint import Style
from ci_env.ui.rows import Row, rows
from ci_env.ui.sink import Sink

_FRAMES_PER_S = 10
_WIDEST = 100
"""beyond it, durations would stand too far from what they belong to"""
_ECHO = len("^C")
"""room for what the terminal itself shows at the end of the last line: on a line of its own, it would keep the first
row of the drawing from being erased"""
_STYLES: Mapping[Style, str] = {
    "plain": "",
    "strong": "bold",
    "dim": "dim",
    "good": "green",
    "bad": "red",
    "warning": "yellow",
    "known": "cyan",
}


@contextmanager
def open_view(board: Board, sink: Sink, *, colour: bool) -> Generator[Callable[[str], None]]:
    """Draw `board` on a terminal while the block runs; give what prints a line above the drawing, from any thread.

    Afterwards the drawing is gone and the cursor is visible, however the block ended. Whoever calls what it gives
    does not hold the board's lock, which the drawing takes.
    """
    console = Console(
        file=cast("IO[str]", sink),
        force_terminal=True,
        no_color=not colour,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )

    def print_above(line: str) -> None:
        console.print(Text.from_ansi(line), soft_wrap=True)

    def draw() -> RenderableType:
        with board.lock:
            found = rows(board, max(1, console.height - 1))
        return Group(*(_text(row, max(1, console.width - _ECHO)) for row in found))

    live = Live(
        get_renderable=draw,
        console=console,
        refresh_per_second=_FRAMES_PER_S,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        vertical_overflow="crop",
    )
    try:
        with live:
            yield print_above
    finally:
        console.show_cursor(True)  # once more: Live is left without it where a signal strikes while it starts


def _text(row: Row, width: int) -> Text:
    """Return the row as one line of the terminal; wide letters count as two cells."""
    text = Text(no_wrap=True, overflow="ellipsis")
    for span, style in row.left:
        text.append(span, _STYLES[style])
    if not row.right:
        text.truncate(width, overflow="ellipsis")
        return text
    right = f"  {row.right}"
    text.truncate(max(1, min(width, _WIDEST) - len(right)), overflow="ellipsis", pad=True)
    return text.append(right, "dim")

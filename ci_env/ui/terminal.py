"""A run on a terminal: drawn live while there is something to watch, and afterwards its steps and failures as text.

Must not import rich before that: a run that is fully cached is over before rich is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from threading import RLock

from ci_env.events import Emit, Event, Note, Progress, StepOutput, StepStarted
from ci_env.ui.board import Board
from ci_env.ui.clean import clean
from ci_env.ui.outcome import failures, summary, tree
from ci_env.ui.paint import paint
from ci_env.ui.sink import Sink

_WORK = (StepStarted, StepOutput, Progress)
"""events after which there is something to watch"""


@contextmanager
def open_view(sink: Sink, *, colour: bool) -> Generator[Emit]:
    """Give a view of one run. At the end of the block the live drawing makes way for what stays to be read."""
    board = Board()
    view = _TerminalView(board, sink, colour=colour)
    try:
        yield view
    finally:
        view.close()
        with board.lock:
            sink.write("".join(f"{line}\n" for line in _rest(board, colour=colour)))


class _TerminalView:
    def __init__(self, board: Board, sink: Sink, *, colour: bool) -> None:
        self._board = board
        self._sink = sink
        self._drawing = ExitStack()
        self._colour = colour
        self._opening = RLock()  # a signal handler may call while its thread is in here
        self._print: Callable[[str], None] | None = None

    def __call__(self, event: Event) -> None:
        self._board.apply(event)
        if isinstance(event, Note):
            self._say(event)
        elif self._print is None and isinstance(event, _WORK):
            with self._opening:
                if self._print is None:
                    self._print = self._open()

    def close(self) -> None:
        """End the drawing. Threads that have not ended yet may still call; nothing is drawn any more."""
        with self._opening:
            self._print = self._write_line
            self._drawing.close()

    def _say(self, note: Note) -> None:
        label = paint("warning:", "warning", colour=self._colour) if note.level == "warning" else "note:"
        line = f"{label} {clean(note.message)}"
        with self._opening:
            (self._print or self._write_line)(line)

    def _write_line(self, line: str) -> None:
        self._sink.write(line + "\n")

    def _open(self) -> Callable[[str], None]:
        from ci_env.ui.console import open_view as open_console

        return self._drawing.enter_context(open_console(self._board, self._sink, colour=self._colour))


def _rest(board: Board, *, colour: bool) -> list[str]:
    """Return what stays on the screen; of a run that ended before it began, nothing."""
    steps = tree(board, colour=colour) if set(board.counts()) - {"waiting"} else []
    ending = ["", summary(board, colour=colour)] if board.status else []
    return [*steps, *ending, *failures(board, colour=colour)]

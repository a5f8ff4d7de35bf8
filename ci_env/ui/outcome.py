"""What stays to be read when a run has ended: its steps, its summary, its failures. Owns the words, for all views."""

from __future__ import annotations

from collections.abc import Iterator

from ci_env.events import StepFailure
from ci_env.ui.board import Board, JobState, StepState
from ci_env.ui.clean import clean, shorten
from ci_env.ui.durations import duration
from ci_env.ui.paint import MARKS, STYLES, State, paint

_ORDER: tuple[State, ...] = ("failed", "passed", "cached", "skipped", "cancelled", "running", "waiting")
_TREE_LINES = 40
_COMMAND_LINES = 10
_LINE_LETTERS = 1000
_NAME_LETTERS = 60


def tree(board: Board, *, colour: bool) -> list[str]:
    """Return the jobs and their steps; in a large run the steps only where something went wrong."""
    jobs = list(board.jobs.values())
    total = len(jobs) + sum(len(job.steps) for job in jobs)
    rows = [row for job in jobs for row in _job(job, whole=total <= _TREE_LINES)]
    column = max((len(name) + indent for indent, name, _ in rows), default=0) + 2
    return [_row(indent, name, state, column, colour=colour) for indent, name, state in rows]


def summary(board: Board, *, colour: bool) -> str:
    """Return one line: how the run ended, how long it took, and how many steps ended in which way."""
    status = board.status or "cancelled"
    counts = board.counts()
    parts = ", ".join(f"{counts[state]} {_word(state)}" for state in _ORDER if counts[state])
    name = f"run {clean(board.run_id)}" if board.run_id else "the run"
    word = paint(status, STYLES[status], colour=colour)
    return f"{name}: {word} in {duration(board.duration_ms)} ({parts or 'no steps'})"


def failures(board: Board, *, colour: bool) -> list[str]:
    """Return a block for each failure. The last line of a block is the command that replays it, and nothing else."""
    return [line for failure in board.failures for line in _failure(failure, board.run_id, colour=colour)]


def _failure(failure: StepFailure, run_id: str, *, colour: bool) -> Iterator[str]:
    ending = f": {clean(failure.ending)}" if failure.ending else ""
    yield ""
    yield paint(f"Failed: {clean(failure.job)} / {clean(failure.step)}{ending}", "bad", colour=colour)
    yield ""
    for prefix, line in zip(("  $ ", *["    "] * _COMMAND_LINES), _command(failure.command), strict=False):
        yield prefix + paint(line, "strong", colour=colour)
    yield ""
    # Each line behind a bar, so that none of them can pass for the lines that follow.
    bar = paint("  | ", "dim", colour=colour)
    for line in failure.tail:
        yield bar + clean(line, colour=colour)
    if not failure.tail:
        yield paint("  It wrote nothing.", "dim", colour=colour)
    yield ""
    if failure.hint:
        yield f"  Hint: {clean(failure.hint)}"
        yield ""
    if failure.tail and run_id:
        yield f"  All of its output:  ci-env runs logs {clean(run_id)}"
    if failure.capsule:
        yield f"  On other machines:  ci-env replay {clean(failure.capsule)}"
    yield "  Replay it:"
    yield "  " + paint(clean(failure.replay), "strong", colour=colour)


def _command(command: str) -> list[str]:
    lines = [shorten(clean(line), _LINE_LETTERS) for line in command.strip("\n").split("\n")]
    if len(lines) <= _COMMAND_LINES:
        return lines
    shown = lines[: _COMMAND_LINES - 1]
    return [*shown, f"… {len(lines) - len(shown)} more lines"]


def _job(job: JobState, *, whole: bool) -> Iterator[tuple[int, str, JobState | StepState]]:
    yield 0, shorten(clean(job.name), _NAME_LETTERS), job
    if whole or job.state not in ("passed", "cached", "skipped"):
        for step in job.steps.values():
            yield 2, shorten(clean(step.name), _NAME_LETTERS), step


def _row(indent: int, name: str, what: JobState | StepState, column: int, *, colour: bool) -> str:
    mark = paint(MARKS[what.state], STYLES[what.state], colour=colour)
    took = duration(what.duration_ms) if what.state in ("passed", "failed") else _word(what.state)
    ending = clean(what.ending) if isinstance(what, StepState) and what.ending != what.state else ""
    tail = f"  {paint(ending, 'bad' if what.state == 'failed' else 'dim', colour=colour)}" if ending else ""
    return f"{' ' * indent}{mark} {name:{column - indent}}{paint(f'{took:>11}', 'dim', colour=colour)}{tail}"


def _word(state: State) -> str:
    return {"waiting": "not run", "running": "not ended"}.get(state, state)

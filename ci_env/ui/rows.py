"""The rows of the live view: which of them fit a terminal, and what they say. Pure but for the board's clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ci_env.frozen import dataclass
from ci_env.ui.board import Board, JobState, StepState, Transfer
from ci_env.ui.clean import clean, shorten
from ci_env.ui.durations import duration
from ci_env.ui.paint import MARKS, STYLES, State, Style
from ci_env.ui.sizes import part, rate, size

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAMES_PER_S = 10
_BAR_CELLS = 20
_TRANSFERS = 3
_NAME_LETTERS = 60
_LINE_LETTERS = 500
_ENDED: tuple[State, ...] = ("passed", "cached", "failed", "skipped", "cancelled")

Span = tuple[str, Style]


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `left` is cut where the terminal is too narrow, `right` is not, and stands at the right."""

    left: tuple[Span, ...]
    right: str = ""


@dataclass(frozen=True, slots=True)
class _Detail:
    """How much is shown of what."""

    output_lines: int
    every_step: bool
    """of running jobs; otherwise the running one only"""
    every_job: bool
    """otherwise those that run, and the number of the others"""


# From most to least: the first that fits is taken.
_DETAILS = (
    _Detail(5, every_step=True, every_job=True),
    _Detail(3, every_step=True, every_job=True),
    _Detail(3, every_step=False, every_job=True),
    _Detail(1, every_step=False, every_job=True),
    _Detail(3, every_step=False, every_job=False),
    _Detail(1, every_step=False, every_job=False),
    _Detail(0, every_step=False, every_job=False),
)


def rows(board: Board, height: int) -> list[Row]:
    """Return at most `height` rows (at least 1), in as much detail as fits. The caller holds the board's lock."""
    now_s = board.clock()
    footer = _footer(board, now_s)
    head = list(_transfers(list(board.transfers.values()), now_s))
    for detail in _DETAILS:
        found = [*head, *_jobs(board, detail, now_s), footer]
        if len(found) + _reserve(board, detail) <= height:
            return found
    return [*_cut([*head, *_jobs(board, _DETAILS[-1], now_s)], height - 1), footer]


def _reserve(board: Board, detail: _Detail) -> int:
    """Return how many rows of output are still to come, so that the detail does not change with each of them."""
    running = (step for job in board.jobs.values() for step in job.steps.values() if step.state == "running")
    return sum(max(0, detail.output_lines - len(step.lines)) for step in running)


def _cut(found: list[Row], height: int) -> list[Row]:
    if height < 1:
        return []
    left_out = len(found) - (height - 1)
    return [*found[: height - 1], Row(((f"  +{left_out} more", "dim"),))]


def _jobs(board: Board, detail: _Detail, now_s: float) -> Iterator[Row]:
    others: Counter[State] = Counter()
    for job in board.jobs.values():
        if job.state == "running":
            yield from _running_job(job, detail, now_s)
        elif detail.every_job:
            yield from _resting_job(job)
        else:
            others[job.state] += 1
    for state, count in others.items():
        jobs = "1 job" if count == 1 else f"{count} jobs"
        yield Row((_mark(state, now_s), (f"{jobs} {state}", "dim")))


def _running_job(job: JobState, detail: _Detail, now_s: float) -> Iterator[Row]:
    steps = list(job.steps.values())
    spans: list[Span] = [_mark("running", now_s), (_short(job.name), "strong")]
    if not detail.every_step:
        ended = sum(step.state in _ENDED for step in steps)
        spans.append((f"  {ended} of {len(steps)} steps", "dim"))
    yield Row(tuple(spans), _ticking(job, now_s))
    for step in steps:
        if detail.every_step or step.state == "running":
            yield from _step(step, detail, now_s)


def _resting_job(job: JobState) -> Iterator[Row]:
    """Give a job that waits or has ended one row, and its failed steps one each."""
    counts = Counter(step.state for step in job.steps.values())
    steps = f"  {len(job.steps)} steps" if len(job.steps) != 1 else "  1 step"
    cached = f", {counts['cached']} cached" if counts["cached"] and job.state != "cached" else ""
    took = job.state if job.state not in ("passed", "failed") else duration(job.duration_ms)
    yield Row((_mark(job.state, 0), (_short(job.name), "plain"), (steps + cached, "dim")), took)
    for step in job.steps.values():
        if step.state == "failed":
            yield _step_row(step, 0)


def _step(step: StepState, detail: _Detail, now_s: float) -> Iterator[Row]:
    yield _step_row(step, now_s)
    if step.state == "running" and detail.output_lines:
        for line in list(step.lines)[-detail.output_lines :]:
            yield Row((("    │ ", "dim"), (shorten(clean(line).expandtabs(), _LINE_LETTERS), "dim")))


def _step_row(step: StepState, now_s: float) -> Row:
    name: Span = (_short(step.name), "dim" if step.state == "waiting" else "plain")
    is_telling = step.ending and step.ending != step.state
    ending: Span = (f"  {clean(step.ending)}" if is_telling else "", STYLES[step.state])
    took = _ticking(step, now_s) if step.state in ("running", "passed", "failed") else step.state
    return Row((("  ", "plain"), _mark(step.state, now_s), name, ending), "" if step.state == "waiting" else took)


def _mark(state: State, now_s: float) -> Span:
    mark = _SPINNER[int(now_s * _FRAMES_PER_S) % len(_SPINNER)] if state == "running" else MARKS[state]
    return f"{mark} ", "known" if state == "running" else STYLES[state]


def _ticking(what: JobState | StepState, now_s: float) -> str:
    return _since(what.started_s, now_s) if what.state == "running" else duration(what.duration_ms)


def _since(started_s: float, now_s: float) -> str:
    """Return how long something goes on: in seconds from the start, since milliseconds would only flicker."""
    taken_ms = int((now_s - started_s) * 1000)
    return duration(taken_ms) if taken_ms >= 1000 else f"0.{taken_ms // 100} s"


def _transfers(transfers: Sequence[Transfer], now_s: float) -> Iterator[Row]:
    shown = transfers[:_TRANSFERS]
    column = max((len(_short(transfer.what)) for transfer in shown), default=0)
    for transfer in shown:
        name = f"{_short(transfer.what):{column}}  "
        far = f"{part(transfer.done_bytes, transfer.total_bytes)}  {rate(transfer.bytes_per_s(now_s)):>11}"
        yield Row((("↓ ", "known"), (name, "plain"), *_bar(transfer)), far)
    if len(transfers) > len(shown):
        yield Row(((f"  +{len(transfers) - len(shown)} more", "dim"),))


def _bar(transfer: Transfer) -> tuple[Span, ...]:
    if not transfer.total_bytes:
        return ()
    filled = min(_BAR_CELLS, _BAR_CELLS * transfer.done_bytes // transfer.total_bytes)
    return ("━" * filled, "known"), ("─" * (_BAR_CELLS - filled), "dim")


def _footer(board: Board, now_s: float) -> Row:
    counts = board.counts()
    ended = sum(counts[state] for state in _ENDED)
    parts = [f"{ended} of {counts.total()} steps"] if board.jobs else []
    if counts["failed"]:
        parts.append(f"{counts['failed']} failed")
    if board.transferred_bytes:
        parts.append(f"{size(board.transferred_bytes)} fetched")
    return Row(((", ".join(parts), "dim"),), _since(board.started_s, now_s))


def _short(name: str) -> str:
    return shorten(clean(name), _NAME_LETTERS)

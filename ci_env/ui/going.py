"""How runs that go on look on a terminal, and as JSON. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from ci_env.capsule.record import Record
from ci_env.digest import Json
from ci_env.live.messages import State
from ci_env.ui.clean import clean
from ci_env.ui.durations import duration

_TITLES = ("RUN", "STATE", "JOB", "STEP", "SINCE", "PIPELINE")


def rows(seen: Sequence[tuple[Record, State | None]], *, now_s: int) -> Iterator[str]:
    """Return a table: a line for each step that runs, and one for a run between steps."""
    table = [_TITLES, *(row for record, state in seen for row in _rows(record, state, now_s))]
    widths = [max(len(row[column]) for row in table) for column in range(len(_TITLES))]
    for row in table:
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def facts(record: Record, state: State | None) -> Mapping[str, Json]:
    """Return a run as JSON data."""
    steps: list[Json] = [
        {"job": step.job, "step": step.step, "started_at": _time(step.started_s)}
        for step in (state.running() if state else ())
    ]
    return {
        "run": record.run_id,
        "state": state.condition if state else "running",
        "started_at": record.started_at,
        "file": record.file,
        "directory": state.directory if state else None,
        "url": record.ci.get("url"),
        "steps": steps,
    }


def _rows(record: Record, state: State | None, now_s: int) -> Iterator[tuple[str, ...]]:
    condition = state.condition if state else "running"
    where = clean(record.ci.get("url") or _pipeline(record, state))
    steps = state.running() if state else ()
    if not steps:
        yield record.run_id, condition, "-", "-", "-", where
    for index, step in enumerate(steps):
        first = (record.run_id, condition) if index == 0 else ("", "")
        since = duration(max(now_s - step.started_s, 0) * 1000)
        yield *first, clean(step.job), clean(step.step), since, where if index == 0 else ""


def _pipeline(record: Record, state: State | None) -> str:
    return record.file if state is None else f"{record.file} in {state.directory}"


def _time(since_epoch_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since_epoch_s))

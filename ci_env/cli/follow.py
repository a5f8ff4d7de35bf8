"""Follows the logs of a run that goes on: what its steps have written, and what comes, until the run ends.

Reads the log files themselves, which hold what the run shows, secrets masked. Asks the run which there are.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from ci_env.capsule.record import Record
from ci_env.errors import ConfigError
from ci_env.live.knock import knock
from ci_env.live.messages import Request, SeenStep
from ci_env.store.blobs import Blobs
from ci_env.store.runs import Runs
from ci_env.ui.clean import clean

_PAUSE_S = 0.1
_PIECE = 1 << 16


def follow(runs: Runs[Record], directory: Path, blobs: Blobs, name: str | None) -> None:
    """Print to the end of the run in `directory`: of one step as it was written, of several with their names.

    ConfigError where it has no step of that name.
    """
    planned = _planned(runs.load(directory.name))
    wanted = {title for title, step in planned.items() if name is None or name in (step, title)}
    if not wanted:
        raise ConfigError(f"run {directory.name} has no step {name!r}", hint=f"its steps: {', '.join(planned)}")
    followed: dict[str, _Followed] = {}
    is_going_on = True
    while is_going_on:
        is_going_on = runs.is_running(directory.name)  # first: what is said after its end is all that there was
        for step in _begun(directory) if is_going_on else _ended(runs.load(directory.name), name):
            title = f"{step.job}/{step.step}"
            if title in wanted and title not in followed:
                source = _open(step, blobs)
                if source is not None:
                    followed[title] = _Followed(source, "" if len(wanted) == 1 else title)
        is_new = [one.show() for one in followed.values()]
        sys.stdout.flush()
        if is_going_on and not any(is_new):
            time.sleep(_PAUSE_S)
    for one in followed.values():
        one.close()


class _Followed:
    """A log that is being followed. It is open until then: the file may move into the store meanwhile."""

    def __init__(self, source: IO[bytes], title: str) -> None:
        self._source = source
        self._title = title
        self._rest = b""

    def show(self) -> bool:
        """Print what has come; with a title by whole lines, each behind it. False where nothing has."""
        piece = self._source.read(_PIECE)
        if not piece:
            return False
        if not self._title:
            sys.stdout.buffer.write(piece)
            return True
        *lines, self._rest = (self._rest + piece).split(b"\n")
        sys.stdout.writelines(self._line(line) for line in lines)
        return True

    def close(self) -> None:
        while self.show():
            pass
        if self._rest:
            sys.stdout.write(self._line(self._rest))
        sys.stdout.flush()
        self._source.close()

    def _line(self, line: bytes) -> str:
        return f"{clean(self._title)} | {clean(line.decode(errors='replace'))}\n"


def _planned(record: Record) -> Mapping[str, str]:
    return {f"{job.name}/{step.name}": step.name for job in record.plan.jobs for step in job.steps}


def _begun(directory: Path) -> tuple[SeenStep, ...]:
    found = knock(directory, Request("look"))
    return found[0].state.steps if found and found[0].state else ()


def _ended(record: Record, name: str | None) -> tuple[SeenStep, ...]:
    """Return the steps that have run, by the record, and cached ones where one of them was asked for."""
    return tuple(
        SeenStep(job.name, step.name, 0, "", step.output)
        for job in record.jobs
        for step in job.steps
        if step.output and (name is not None or step.status != "cached")
    )


def _open(step: SeenStep, blobs: Blobs) -> IO[bytes] | None:
    """Return its log; None where that is just on its way into the store."""
    if step.output is not None:
        return blobs.open(step.output)
    try:
        return open(step.log, "rb", buffering=0)  # closed by who follows it
    except FileNotFoundError:
        return None

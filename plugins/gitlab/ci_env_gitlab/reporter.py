"""A run as the log of a GitLab job: a collapsed section for each step, the failure open below them.

Owns the log's format (docs.gitlab.com, "Custom collapsible sections"). A section's marker counts wherever it stands, so
those that a step writes are broken up.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from ci_env.events import (
    Event,
    Note,
    RunFinished,
    RunStarted,
    StepFailure,
    StepFinished,
    StepOutput,
    StepStarted,
)

_CLEAR = "\x1b[0K"
_RED, _YELLOW, _BOLD, _PLAIN = "\x1b[31;1m", "\x1b[33;1m", "\x1b[1m", "\x1b[0m"
_MARKER = re.compile("section_(?=(start|end):)")
_NOT_IN_NAME = re.compile("[^A-Za-z0-9_.-]+")


class Reporter:
    """Writes one run. Takes events one at a time, those of different steps not mixed."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.time) -> None:
        self._write = write
        self._clock = clock
        self._sections = 0
        self._open = ""
        """name of the section"""

    def report(self, event: Event) -> None:
        """Show `event`, or nothing where this log has no place for it."""
        match event:
            case RunStarted(run_id):
                self._line(f"ci-env run {run_id}")
            case StepStarted(job, step):
                self._begin(job, step)
            case StepOutput(line=line):
                self._line(line)
            case StepFinished():
                self._finish(event)
            case Note("warning", message):
                self._line(message, colour=_YELLOW)
            case Note(message=message):
                self._line(message)
            case StepFailure():
                self._failure(event)
            case RunFinished(run_id, status, duration_ms):
                self._line(f"ci-env run {run_id}: {status} in {duration_ms / 1000:.1f} s", colour=_BOLD)
            case _:
                pass

    def _begin(self, job: str, step: str) -> None:
        self._sections += 1
        self._open = f"ci_env_{self._sections}_{_NOT_IN_NAME.sub('_', f'{job}_{step}')}"
        self._marker("start", f"{self._open}[collapsed=true]", _one_line(f"{job} / {step}"))

    def _finish(self, event: StepFinished) -> None:
        if self._open:
            self._marker("end", self._open, "")
            self._open = ""
        how = f", {event.ending}" if event.ending and event.status == "failed" else ""
        text = f"{event.job} / {event.step}: {event.status}{how} ({event.duration_ms / 1000:.1f} s)"
        self._line(_one_line(text), colour=_RED if event.status == "failed" else "")

    def _failure(self, event: StepFailure) -> None:
        self._line(f"{_one_line(f'{event.job} / {event.step}')}: {event.ending}", colour=_RED)
        for line in (f"$ {event.command.rstrip()}", *event.tail):
            self._line(line)
        if event.hint:
            self._line(f"Hint: {event.hint}")
        self._line("To run it again in the same surroundings:")
        self._line(event.replay, colour=_BOLD)

    def _marker(self, kind: str, name: str, header: str) -> None:
        """Write a marker whole: GitLab Runner may put a time in front of each piece that it is given."""
        self._write(f"{_CLEAR}section_{kind}:{int(self._clock())}:{name}\r{_CLEAR}{header}\n")

    def _line(self, text: str, *, colour: str = "") -> None:
        text = _MARKER.sub(r"section\\_", text)
        end = _PLAIN if colour or "\x1b" in text else ""
        self._write(f"{colour}{text}{end}\n")


def _one_line(text: str) -> str:
    return _MARKER.sub(r"section\\_", " ".join(text.split()))

"""A run as the log of a GitHub Actions step: a group for each step, an annotation for each failure.

Owns the log's format (docs.github.com, "Workflow commands"; actions/runner, ActionCommand.cs). The runner obeys
commands wherever they stand in the log, so what a step writes is shown only while commands are stopped, until a token
that it cannot know.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator

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
from ci_env.mask import as_written

_ESCAPES = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY_ESCAPES = _ESCAPES | {":": "%3A", ",": "%2C"}
_TOKEN_BYTES = 16
_MAX_ANNOTATIONS = 10  # of errors, for each step of a job: ExecutionContext.cs
_MAX_MESSAGE = 4096


class Reporter:
    """Writes one run. Takes events one at a time, those of different steps not mixed."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._token = ""
        """that starts commands again; empty: they are not stopped"""
        self._is_open = False
        self._annotations = 0

    def report(self, event: Event) -> None:
        """Show `event`, or nothing where this log has no place for it."""
        match event:
            case RunStarted(run_id):
                self._line(f"ci-env run {run_id}")
            case StepStarted(job, step):
                self._command("group", f"{job} / {step}")
                self._is_open = True
                self._stop_commands()
            case StepOutput(line=line):
                self._line(line)
            case StepFinished():
                self._finish(event)
            case Note("warning", message):
                self._warn(message)
            case Note(message=message):
                self._line(message)
            case StepFailure():
                self._failure(event)
            case RunFinished(run_id, status, duration_ms):
                self._count_the_rest()
                self._line(f"ci-env run {run_id}: {status} in {duration_ms / 1000:.1f} s")
            case _:
                pass

    def _finish(self, event: StepFinished) -> None:
        self._start_commands()
        if self._is_open:
            self._command("endgroup", "")
            self._is_open = False
        how = f", {event.ending}" if event.ending and event.status == "failed" else ""
        self._line(f"{event.job} / {event.step}: {event.status}{how} ({event.duration_ms / 1000:.1f} s)")

    def _warn(self, message: str) -> None:
        was_stopped = bool(self._token)
        self._start_commands()
        self._command("warning", message, title="ci-env")
        if was_stopped:
            self._stop_commands()

    def _failure(self, event: StepFailure) -> None:
        """Show the failing command and its last lines, which a closed group hides, and annotate the run's page."""
        self._stop_commands()
        hint = f"Hint: {event.hint}\n" if event.hint else ""
        for line in (f"$ {event.command.rstrip()}", *event.tail, event.ending, *hint.splitlines()):
            self._line(line)
        self._start_commands()
        self._annotations += 1
        if self._annotations < _MAX_ANNOTATIONS:
            message = f"{event.ending}\n{hint}\nTo run it again in the same surroundings:\n{event.replay}"
            self._command("error", message[:_MAX_MESSAGE], title=f"{event.job} / {event.step}")

    def _count_the_rest(self) -> None:
        """Annotate that there are more failures than the runner shows annotations of one step."""
        more = self._annotations - (_MAX_ANNOTATIONS - 1)
        if more > 0:
            self._command("error", f"and {more} more failed steps, which the log and the summary show", title="ci-env")

    def _stop_commands(self) -> None:
        self._token = os.urandom(_TOKEN_BYTES).hex()
        self._write(f"::stop-commands::{self._token}\n")

    def _start_commands(self) -> None:
        if self._token:
            self._write(f"::{self._token}::\n")
        self._token = ""

    def _line(self, text: str) -> None:
        """Write text of anyone's. Where commands are not stopped, it may hold none, nor one of the old form, `##[`."""
        if not self._token:
            text = " ".join(text.split()).replace("##[", "## [")
            text = re.sub(r"\A::", ": :", text)
        self._write(f"{text}\n")

    def _command(self, name: str, data: str, *, title: str = "") -> None:
        properties = f" title={_escaped(title, _PROPERTY_ESCAPES)}" if title else ""
        self._write(f"::{name}{properties}::{_escaped(data, _ESCAPES)}\n")


def mask_commands(secrets: Iterable[bytes]) -> str:
    """Return a command for each value, and for each of its lines, as the runner looks at one line of a log at a time.

    It makes the encoded forms of each itself. What is no text cannot be in a log as it is.
    """
    values = dict.fromkeys(text for secret in secrets for text in _texts(secret))
    return "".join(f"::add-mask::{_escaped(value, _ESCAPES)}\n" for value in values)


def _texts(secret: bytes) -> Iterator[str]:
    try:
        yield from (part.decode() for part in as_written(secret))
    except UnicodeDecodeError:
        return


def _escaped(text: str, escapes: dict[str, str]) -> str:
    return "".join(escapes.get(letter, letter) for letter in text)

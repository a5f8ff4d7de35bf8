"""Which run is meant of those that go on, and what it answers. Shared by the commands that ask a run for something."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.capsule.record import RECORD_VERSION, Record
from ci_env.cli.opened import this_store
from ci_env.errors import ConfigError, HostError
from ci_env.live.knock import clear, knock_patiently
from ci_env.live.messages import Answer, Request
from ci_env.store.runs import Runs

if TYPE_CHECKING:
    import argparse

_NONE = "`ci-env ps` lists the runs that go on"


class Going:
    """The runs of this user's store that go on."""

    def __init__(self) -> None:
        self.store = this_store()
        self.runs = Runs(self.store, Record, version=RECORD_VERSION)

    def ids(self) -> list[str]:
        """Return their ids, newest first; what killed runs have left is cleared away."""
        found: list[str] = []
        for run_id in self.runs.ids():
            if self.runs.is_running(run_id):
                found.append(run_id)
            else:
                clear(self.directory(run_id))
        return found

    def directory(self, run_id: str) -> Path:
        return self.store.runs / run_id

    def find(self, text: str | None) -> str:
        """Return the run that `text` means; the only one that goes on where it is None, the newest for `last`.

        ConfigError where there is none.
        """
        going = self.ids()
        if text is not None and text != "last":
            run_id = self.runs.find(text)
            if run_id not in going:
                raise ConfigError(f"run {run_id} has ended", hint=f"{_NONE}\n$ ci-env replay {run_id} --shell")
            return run_id
        if not going:
            raise ConfigError(
                "no run goes on", hint="`ci-env replay --shell` opens a shell in the state of an ended one"
            )
        if len(going) > 1 and text is None:
            raise ConfigError(f"{len(going)} runs go on: {', '.join(going)}", hint="name one of them")
        return going[0]

    def ask(self, run_id: str, request: Request) -> tuple[Answer, int | None]:
        """Return what the run answers, with a descriptor or without; ConfigError where it refuses or has ended."""
        found = knock_patiently(self.directory(run_id), request, lambda: self.runs.is_running(run_id))
        if found is None and self.runs.is_running(run_id):
            raise HostError(
                f"run {run_id} cannot be reached", hint="it runs no step now; try again, or end it with Ctrl-C"
            )
        if found is None:
            raise ConfigError(f"run {run_id} has ended meanwhile", hint=_NONE)
        if found[0].is_error:
            raise ConfigError(f"run {run_id}: {found[0].message}", hint=found[0].hint)
        return found


def add_run(parser: argparse.ArgumentParser) -> None:
    """Declare the argument that names a run that goes on."""
    help_ = "run id, its beginning, or `last` (default: the only one that goes on)"
    parser.add_argument("run", metavar="RUN", nargs="?", help=help_)


def order(run: str | None, request: Request) -> int:
    """Have a run do what takes no time, and say what it has done."""
    going = Going()
    run_id = going.find(run)
    answer, _ = going.ask(run_id, request)
    text = f"run {run_id}: {answer.message}" if answer.is_done else f"run {run_id} {answer.message}"
    sys.stdout.write(text + "\n")
    return 0

"""What happens during a run, as records. The core emits them; ui/ and the adapters render them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ci_env.digest import Digest
from ci_env.frozen import dataclass

Status = Literal["passed", "cached", "failed", "skipped", "cancelled"]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and all that it started have used. None: nothing on this machine could tell."""

    cpu_ms: int | None
    peak_memory_bytes: int | None
    """page cache of its files counts, as in the kernel's own accounts"""
    read_bytes: int | None
    written_bytes: int | None
    """to and from disks, not through the page cache alone"""


@dataclass(frozen=True, slots=True)
class RunStarted:
    run_id: str
    jobs: tuple[JobOutline, ...]


@dataclass(frozen=True, slots=True)
class JobOutline:
    """A job to come and the names of its steps, for a view that shows what is still ahead."""

    name: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobStarted:
    job: str


@dataclass(frozen=True, slots=True)
class StepStarted:
    job: str
    step: str


@dataclass(frozen=True, slots=True)
class StepOutput:
    """One line that a step wrote, without its newline. Untrusted: may hold any character but the newline."""

    job: str
    step: str
    line: str


@dataclass(frozen=True, slots=True)
class StepFinished:
    job: str
    step: str
    status: Status
    duration_ms: int
    ending: str
    """how it ended, in words: `exit status 2`, `signal 9 (SIGKILL)`, `timeout after 30 s`; empty where there is none"""
    output: Digest | None
    """of its whole log, in the content store"""
    used: Usage | None = None
    """None where it did not run here"""


@dataclass(frozen=True, slots=True)
class JobFinished:
    job: str
    status: Status
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a transfer is. `what` names it and stays the same from its first event to its last (`finished`)."""

    what: str
    done_bytes: int
    total_bytes: int | None
    finished: bool


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person should know."""

    level: Literal["info", "warning"]
    message: str


@dataclass(frozen=True, slots=True)
class StepFailure:
    """The failing command and where to find more; emitted after the run's jobs have ended, before RunFinished."""

    job: str
    step: str
    ending: str
    command: str
    """the script as the user wrote it"""
    tail: tuple[str, ...]
    """last lines of its output"""
    replay: str
    """the command line that reproduces it"""
    hint: str = ""
    """what may be behind it; empty: nothing is known"""
    capsule: str = ""
    """the file that reproduces it on another machine; empty: there is none"""


@dataclass(frozen=True, slots=True)
class RunFinished:
    run_id: str
    status: Status
    duration_ms: int


Event = (
    RunStarted
    | JobStarted
    | StepStarted
    | StepOutput
    | StepFinished
    | JobFinished
    | Progress
    | Note
    | StepFailure
    | RunFinished
)
Emit = Callable[[Event], None]
"""Takes one event; must be safe to call from several threads and must not raise."""

"""What is said at the door of a run that goes on: one request, one answer, a line of JSON each. Pure."""

from __future__ import annotations

from typing import Literal

from ci_env.digest import Digest
from ci_env.frozen import dataclass
from ci_env.ports import Visit

Condition = Literal["running", "paused", "stopping"]
Verb = Literal["look", "pause", "resume", "stop", "kill", "exec"]


@dataclass(frozen=True, slots=True)
class Request:
    verb: Verb
    job: str | None = None
    """whose step is meant by `exec`; None: the only one"""
    visit: Visit | None = None
    """for `exec`"""


@dataclass(frozen=True, slots=True)
class SeenStep:
    """A step that has begun in this run."""

    job: str
    step: str
    started_s: int
    """since the epoch"""
    log: str
    """the path of its log while it runs"""
    output: Digest | None
    """its log in the content store; None while it runs"""


@dataclass(frozen=True, slots=True)
class State:
    """A run as it is now."""

    condition: Condition
    directory: str
    """where it was started"""
    steps: tuple[SeenStep, ...]
    """in the order of their beginnings"""

    def running(self) -> tuple[SeenStep, ...]:
        """Return the steps that run."""
        return tuple(step for step in self.steps if step.output is None)


@dataclass(frozen=True, slots=True)
class Answer:
    """A descriptor comes along: with `exec` for `RunnerFactory.attend`, with `stop` and `kill` a pidfd of the run."""

    is_done: bool
    """False: there was nothing to do, `message` says why; or it is an error"""
    message: str
    state: State | None = None
    hint: str | None = None
    is_error: bool = False

"""The error tree. Owns every failure a user can meet, and its exit code.

    CiEnvError
    ├── BuildFailed      1  a step has failed in the build of an image that a pipeline needs
    ├── ConfigError      2  the user's file or arguments are wrong
    ├── HostError        3  this machine lacks something (kernel, set-up, space)
    ├── RegistryError    4  a registry or the network failed; another try may help
    ├── IntegrityError   5  content is not what its digest says; never retried, never cached
    └── Interrupted  128+n  a signal ended the run

A failing step is a result, not an error: it is in the Record, and `run` exits with `EXIT_STEP_FAILED`. Any other
exception is a bug of ours and exits with `EXIT_BUG`. Library code raises; only `cli/main.py` prints and exits.
"""

from __future__ import annotations

from typing import ClassVar

EXIT_STEP_FAILED = 1
EXIT_BUG = 70


class CiEnvError(Exception):
    """What failed, on what and why, in one message; and what to do next, in `hint`."""

    exit_code: ClassVar[int] = EXIT_BUG

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(CiEnvError):
    """The pipeline file or the command line is wrong. `where` is `file:line:column`, lines and columns from 1."""

    exit_code = 2

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.where = where


class BuildFailed(CiEnvError):
    """An image could not be built, since a step of its own has failed; that step was told of."""

    exit_code = EXIT_STEP_FAILED


class HostError(CiEnvError):
    """This machine lacks an ability or a resource; the hint says how to get it."""

    exit_code = 3


class RegistryError(CiEnvError):
    """A registry, or the way to it, failed."""

    exit_code = 4


class IntegrityError(CiEnvError):
    """Content does not match its digest, or a file of the store is not what was written."""

    exit_code = 5


class Interrupted(CiEnvError):
    """A signal asked the run to end; everything it started has been ended."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"interrupted by signal {signal_number}")
        self.signal_number = signal_number

    @property
    def code(self) -> int:
        """Return the shell's exit status for a process that a signal ended."""
        return 128 + self.signal_number

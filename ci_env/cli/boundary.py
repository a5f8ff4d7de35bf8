"""What an exception means to the person who ran ci-env: the exit code, and what to say. Decides; main.py prints."""

from __future__ import annotations

import errno
import os
import traceback
from typing import Literal

from ci_env.errors import EXIT_BUG, CiEnvError, HostError, Interrupted
from ci_env.frozen import dataclass

EXIT_KEYBOARD = 128 + 2
EXIT_BROKEN_PIPE = 128 + 13
_RED, _BOLD, _PLAIN = "\x1b[1;31m", "\x1b[1m", "\x1b[0m"
# The machine's doing wherever they occur; every other errno that comes this far is one that our code forgot.
_HOST_ERRORS = {
    errno.EACCES: "give yourself access to it, or choose another place (CI_ENV_HOME is where the store is)",
    errno.EDQUOT: "your quota is used up: make space, or put the store elsewhere (CI_ENV_HOME)",
    errno.ENOSPC: "make space, or put the store elsewhere (CI_ENV_HOME)",
    errno.EROFS: "it is mounted read-only: choose another place (CI_ENV_HOME is where the store is)",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How the process is to end."""

    code: int
    kind: Literal["error", "interrupted", "bug"]
    message: str
    hint: str | None


def judge(error: BaseException) -> Ending:
    """Return what `error` means; whatever is not known here is a bug of ours."""
    match error:
        case Interrupted():
            return Ending(error.code, "interrupted", error.message, None)
        case KeyboardInterrupt():
            return Ending(EXIT_KEYBOARD, "interrupted", "interrupted", None)
        case CiEnvError():
            return Ending(error.exit_code, "error", str(error), error.hint)
        case OSError(errno=int(number)) if number in _HOST_ERRORS and _is_about_the_host(error):
            return Ending(HostError.exit_code, "error", _place_and_reason(error), _HOST_ERRORS[number])
        case _:
            return Ending(EXIT_BUG, "bug", "", None)


def describe(ending: Ending, *, colour: bool) -> str:
    """Return the lines to write; the lines of a message or hint begin below each other. Nothing in them is a command
    to the terminal, whoever wrote it: names of files, a registry's answer.
    """
    if ending.kind == "interrupted":
        return f"{_harmless(ending.message)}\n"
    text = _labelled("error: ", ending.message, _RED if colour else "")
    return text + (_labelled("hint: ", ending.hint, _BOLD if colour else "") if ending.hint else "")


def trace(error: BaseException) -> str:
    """Return the traceback, for `--debug`."""
    return "".join(traceback.format_exception(error))


def describe_bug(error: BaseException, about: str) -> str:
    """Return a report for us; `about` says of which ci-env and where."""
    return f"{trace(error)}{about}\nerror: this is a bug in ci-env; please report it with the text above\n"


def _is_about_the_host(error: OSError) -> bool:
    return error.filename is not None or error.errno != errno.EACCES


def _place_and_reason(error: OSError) -> str:
    reason = os.strerror(error.errno or 0)
    return f"{os.fsdecode(error.filename)}: {reason}" if isinstance(error.filename, str | bytes) else reason


def _labelled(label: str, text: str, colour: str) -> str:
    head = f"{colour}{label.rstrip()}{_PLAIN} " if colour else label
    indent = "\n" + " " * len(label)
    return f"{head}{indent.join(_harmless(text).splitlines())}\n"


def _harmless(text: str) -> str:
    return "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text)

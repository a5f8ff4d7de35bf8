"""Runs git's plumbing: quickly, and without a trace in the repository, a hook or a file-system monitor.

Owns git's command line and environment on the path that every run takes; what a repository means is for others.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from ci_env.errors import ConfigError, HostError
from ci_env.frozen import dataclass

_SAFE = (
    *("-c", "core.fsmonitor=false"),  # would run a program that the repository names
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.splitIndex=false"),  # would write a shared index into the repository
    *("-c", "core.safecrlf=false"),  # would refuse files for their line ends
    *("-c", "add.ignoreErrors=false"),
)
_KEPT = ("PATH", "HOME", "XDG_CONFIG_HOME", "SUDO_UID")
_OURS = {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
_OUT_OF_SPACE = ("No space left on device", "Out of diskspace", "Disk quota exceeded")


@dataclass(frozen=True, slots=True)
class Answer:
    """What git said, and whether it is content."""

    status: int
    output: bytes
    complaint: str


def git(*arguments: str, at: Path, extra: Mapping[str, str] | None = None) -> Answer:
    """Run git in `at` with `extra` in its environment; ConfigError unless it succeeds."""
    answer = ask(*arguments, at=at, extra=extra)
    if answer.status:
        raise refusal(answer, at)
    return answer


def refusal(answer: Answer, directory: Path) -> ConfigError | HostError:
    """Return git's complaint as an error of ours."""
    reasons = [line.removeprefix("fatal: ").removeprefix("error: ") for line in answer.complaint.splitlines()]
    if any(words in answer.complaint for words in _OUT_OF_SPACE):
        hint = "free some space, or point CI_ENV_HOME at a larger disk"  # git writes nowhere but to the store
        return HostError(f"git has no space to work in: {'; '.join(reasons)}", hint=hint)
    if answer.complaint.startswith("fatal: detected dubious ownership"):
        reasons = ["it belongs to another user"]
        hint = f"if you trust it: git config --global --add safe.directory {directory}"
    else:
        hint = f"`git -C {directory} status` may show more"
    return ConfigError(f"git cannot read the work tree at {directory}: {'; '.join(reasons)}", hint=hint)


def ask(*arguments: str, at: Path, extra: Mapping[str, str] | None = None) -> Answer:
    """Run git in `at` to its end, whatever its status; HostError if there is none.

    Not through subprocess, whose import costs 7 ms. Output goes to memory files instead of pipes: nothing to drain, so
    nothing can block.
    """
    with open(os.memfd_create("output"), "rb") as output, open(os.memfd_create("complaint"), "rb") as complaint:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, complaint.fileno(), 2),
        ]
        command = ["git", *_SAFE, "-C", str(at), *arguments]
        try:
            process = os.posix_spawnp("git", command, {**_environment(), **(extra or {})}, file_actions=actions)
        except OSError as error:
            message = f"git is not installed, and {at} is a git work tree: {error.strerror}"
            raise HostError(message, hint="install it, for example: apt-get install git") from error
        status = _wait(process)
        return Answer(status, _content(output), _content(complaint).decode(errors="replace").strip())


def _wait(process: int) -> int:
    try:
        os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)  # it keeps its number, whenever an interruption comes
    except BaseException:
        os.kill(process, 9)
        os.waitpid(process, 0)
        raise
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _environment() -> dict[str, str]:
    """Return what git needs to find the user's configuration, without what a calling git left (GIT_DIR in a hook)."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("GIT_CONFIG")}
    return kept | _OURS

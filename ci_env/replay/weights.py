"""How likely a difference between two runs explains that they went differently. Owns the numbers, each with its reason.

The numbers only order a list: what stands first is what to look at first. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ci_env.replay.cause import Cause

Kind = Literal[
    "command", "copy", "source", "platform", "architecture", "image", "host-image", "packages", "service",
    "job", "step", "time-zone", "locale", "variable", "path", "user", "network", "umask", "workdir",
    "secrets", "limit-memory", "limit-cpus", "limit-pids", "limit-disk", "limit-files", "timeout", "rules",
    "ids", "cpus", "memory", "filesystem", "cached", "caches", "kernel", "measures", "hostname", "other",
    "source-times", "image-name", "commit", "ci", "pipeline-file", "collected", "ending", "output", "result",
]  # fmt: skip

WEIGHTS: Mapping[Kind, tuple[int, str]] = {
    "command": (90, "another command does something else"),
    "copy": (88, "other files are copied"),
    "source": (86, "the step saw other files"),
    "platform": (84, "programs for another processor"),
    "architecture": (82, "another kind of processor"),
    "image": (80, "other files to begin with, whatever the image's name"),
    "host-image": (80, "`image: host` is this machine, and another one or an upgraded one now"),
    "packages": (76, "other versions of tools and libraries"),
    "service": (74, "what the step talks to is another"),
    "job": (72, "one of the runs did not have this job"),
    "step": (72, "one of the runs did not have this step"),
    "time-zone": (68, "days and hours are others"),
    "locale": (67, "order, case, digits and encodings are others"),
    "variable": (65, "programs read their environment"),
    "path": (64, "names of commands may mean other programs"),
    "user": (62, "rights, and the home directory, are others"),
    "network": (60, "what can be reached is another"),
    "secrets": (58, "the step had other secrets"),
    "umask": (56, "files are made with other modes"),
    "workdir": (55, "relative paths mean other files"),
    "limit-memory": (52, "what fitted may not"),
    "limit-cpus": (50, "more or fewer things happen at the same time"),
    "limit-pids": (49, "processes may not be started"),
    "limit-disk": (48, "what fitted may not"),
    "limit-files": (47, "files may not be opened"),
    "timeout": (46, "only what takes long is ended"),
    "rules": (44, "ci-env itself made the sandbox by other rules"),
    "ids": (42, "who may own and change files is another"),
    "cached": (41, "one run took this step's result from the store, which differs from what the other one made"),
    "cpus": (38, "tools start as many threads as there are processors"),
    "memory": (34, "what fitted may not"),
    "filesystem": (32, "order of names, sizes of files and what links can do"),
    "caches": (30, "other directories outlive a run"),
    "kernel": (28, "system calls are seldom others"),
    "measures": (26, "what the sandbox forbids is another"),
    "hostname": (24, "few programs ask for it"),
    "other": (22, "unknown to this list"),
    "source-times": (16, "the same files with other times"),
    "image-name": (14, "a name only: its layers count, and are compared"),
    "commit": (12, "an id only: its files count, and are compared"),
    "ci": (10, "facts of the CI service, which a step does not see by themselves"),
    "pipeline-file": (8, "what changed in it is listed, as far as it reaches a step"),
    "collected": (6, "chosen after the step has ended"),
    "ending": (4, "what is to be explained"),
    "output": (3, "what came of it"),
    "result": (2, "what came of it"),
}

_WHY: Mapping[Cause, tuple[str, tuple[Kind, ...]]] = {
    "oom": ("memory ran out", ("limit-memory", "memory", "limit-cpus", "cpus")),
    "pids": ("the limit of processes was reached", ("limit-pids", "limit-cpus", "cpus")),
    "disk": ("space ran out", ("limit-disk", "filesystem")),
    "timeout": ("it ran out of time", ("timeout", "limit-cpus", "cpus")),
    "network": ("the network failed", ("network", "service")),
    "missing-command": ("a command was missing", ("packages", "path", "image", "image-name")),
}
"""what an ending says, and the differences that it points at"""
BOOST = 100
"""on top of the weight of what the ending points at"""
ELSEWHERE = 3
"""by which the weight is divided of what only concerns steps after the one in question, or beside it"""


def weigh(kind: Kind, causes: tuple[Cause, ...], *, is_elsewhere: bool) -> tuple[int, str]:
    """Return a weight, and why."""
    weight, why = WEIGHTS[kind]
    if is_elsewhere:
        return weight // ELSEWHERE, f"{why}; but not before the step that went differently"
    for cause in causes:
        reason, kinds = _WHY.get(cause, ("", ()))
        if kind in kinds:
            return weight + BOOST, f"{reason}; {why}"
    return weight, why

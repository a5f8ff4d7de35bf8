"""Subordinate ids: which ranges of host ids a user may map, by /etc/subuid and /etc/subgid. Standard library only.

Source: subuid(5), newuidmap(1).
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

SUBUID = Path("/etc/subuid")
SUBGID = Path("/etc/subgid")
_FIRST = 100000  # useradd's own, SUB_UID_MIN in login.defs(5)


@dataclass(frozen=True, slots=True)
class Range:
    owner: str
    """a user's name or number"""
    start: int
    count: int


def ranges(file: Path) -> tuple[Range, ...]:
    """Return the ranges in `file`, everyone's; none where it cannot be read. Lines of another form do not count."""
    try:
        lines = file.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ()
    fields = [line.split(":") for line in lines]
    return tuple(
        Range(entry[0], int(entry[1]), int(entry[2]))
        for entry in fields
        if len(entry) == 3 and entry[1].isdecimal() and entry[2].isdecimal()
    )


def own(file: Path) -> tuple[Range, ...]:
    """Return the ranges in `file` of the user that runs this process."""
    owners = {str(os.geteuid()), user_name()}
    return tuple(found for found in ranges(file) if found.owner in owners and found.count)


def count(file: Path) -> int:
    """Return how many ids `file` gives to the user that runs this process."""
    return sum(found.count for found in own(file))


def first_free(file: Path) -> int:
    """Return the first id above all ranges in `file`."""
    return max((found.start + found.count for found in ranges(file)), default=_FIRST)


def user_name() -> str:
    """Return the name of the user that runs this process; the number where it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())

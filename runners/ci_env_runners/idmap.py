"""Which ids a run's user namespace has, and how they get there. Decides; the launcher and newuidmap(1) act."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from ci_env.errors import HostError
from ci_env_runners import subordinate
from ci_env_runners.subordinate import Range

_IDS = 65536
_BLOCKS = range(0x1000, 0x7000)
"""of 65536 ids each: above what distributions, systemd-nspawn and useradd give away, below 2^31"""
_TRIES = 64
_ALL_IDS = ["0", "0", "4294967295"]
_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class IdMap:
    mode: Literal["root", "subordinate", "single"]
    first: int
    """the host's id for the first one, or of the first subordinate one"""
    ids: int
    """how many there are inside"""


def choose() -> IdMap:
    """Return what this user can have."""
    if os.geteuid() == 0 and _is_host_root():
        taken = subordinate.ranges(subordinate.SUBUID) + subordinate.ranges(subordinate.SUBGID)
        return IdMap("root", free_block(taken), _IDS)
    uids, gids = (subordinate.own(file) for file in (subordinate.SUBUID, subordinate.SUBGID))
    can_map = all(shutil.which(program) for program in ("newuidmap", "newgidmap"))
    return decide(os.geteuid(), uids if can_map else (), gids)


def decide(user: int, uids: Sequence[Range], gids: Sequence[Range]) -> IdMap:
    """Return what an ordinary user with these subordinate ids can have: those of the first ranges, or its own alone.

    A root who is only a user namespace's own has no ids to give away, and counts as one.
    """
    if uids and gids:
        return IdMap("subordinate", uids[0].start, min(uids[0].count, gids[0].count) + 1)
    return IdMap("single", user, 1)


def free_block(taken: Sequence[Range]) -> int:
    """Return the first of 65536 ids that nobody has been given, at random, so that two runs share none.

    Nothing on a disk ever belongs to them: the store's mount maps them back. HostError where all have been given away.
    """
    at_random = (random.choice(_BLOCKS) for _ in range(_TRIES))  # noqa: S311  # no secret: it only must not collide
    for block in chain(at_random, _BLOCKS):
        first = block * _IDS
        if all(first + _IDS <= other.start or other.start + other.count <= first for other in taken):
            return first
    hint = f"free {_IDS} ids from {_BLOCKS[0] * _IDS} on, a multiple of {_IDS}, for nobody to own"
    raise HostError("all user and group ids are given away in /etc/subuid and /etc/subgid", hint=hint)


def map_subordinate(process: int, ids: IdMap) -> None:
    """Give `process`, which is in a new user namespace, this user as id 0 and the subordinate ids from 1 on."""
    gids = subordinate.own(subordinate.SUBGID)
    for program, own, first in (
        ("newuidmap", os.geteuid(), ids.first),
        ("newgidmap", os.getegid(), gids[0].start),
    ):
        argv = [program, str(process), "0", str(own), "1", "1", str(first), str(ids.ids - 1)]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else f"no answer in {_TIMEOUT_S} s"
            hint = "end other processes, or raise the limit (ulimit -u); `ci-env doctor` tells what is missing"
            raise HostError(f"cannot map subordinate ids with {program}: {reason}", hint=hint) from error
        if done.returncode:
            raise HostError(f"{program} refuses to map subordinate ids: {done.stderr.strip()}", hint=_SUBORDINATE_HINT)


_SUBORDINATE_HINT = "`ci-env doctor` says what is missing; /etc/subuid and /etc/subgid hold the ranges"


def _is_host_root() -> bool:
    return Path("/proc/self/uid_map").read_text().split() == _ALL_IDS

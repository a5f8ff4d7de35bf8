"""Which ids a run's user namespace has, and how they get there. Decides; the launcher and newuidmap(1) act."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ci_env.errors import HostError
from ci_env_runners import subordinate

_IDS = 65536
_BLOCKS = range(0x1000, 0x7000)
"""of 65536 ids each: above what distributions, systemd-nspawn and useradd give away, below 2^31"""
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
    """Return what this user can have: all ids of nobody for root, else subordinate ones, else one.

    A root who is only a user namespace's own has no ids to give away, and counts as one user.
    """
    if os.geteuid() == 0 and _is_host_root():
        return IdMap("root", _free_block(), _IDS)
    uids, gids = subordinate.own(subordinate.SUBUID), subordinate.own(subordinate.SUBGID)
    if uids and gids and shutil.which("newuidmap") and shutil.which("newgidmap"):
        return IdMap("subordinate", uids[0].start, min(uids[0].count, gids[0].count) + 1)
    return IdMap("single", os.geteuid(), 1)


def map_subordinate(process: int, ids: IdMap) -> None:
    """Give `process`, which is in a new user namespace, this user as id 0 and the subordinate ids from 1 on."""
    gids = subordinate.own(subordinate.SUBGID)
    for program, own, first in (
        ("newuidmap", os.geteuid(), ids.first),
        ("newgidmap", os.getegid(), gids[0].start),
    ):
        argv = [program, str(process), "0", str(own), "1", "1", str(first), str(ids.ids - 1)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
        if done.returncode:
            raise HostError(f"{program} refuses to map subordinate ids: {done.stderr.strip()}", hint=_SUBORDINATE_HINT)


_SUBORDINATE_HINT = "`ci-env doctor` says what is missing; /etc/subuid and /etc/subgid hold the ranges"


def _is_host_root() -> bool:
    return Path("/proc/self/uid_map").read_text().split() == _ALL_IDS


def _free_block() -> int:
    """Return a block of ids at random, so that two runs share none, that nobody has been given.

    Nothing on a disk ever belongs to them: the store's mount maps them back.
    """
    taken = subordinate.ranges(subordinate.SUBUID) + subordinate.ranges(subordinate.SUBGID)
    while True:
        first = random.choice(_BLOCKS) * _IDS  # noqa: S311  # no secret: it only must not collide
        if all(first + _IDS <= other.start or other.start + other.count <= first for other in taken):
            return first

"""Who a process of the rootfs is: user and groups by its /etc/passwd and /etc/group. Runs inside, after the pivot.

The files are an image's: read with bounds, through no magic link, and only if they are ordinary files (CVE-2024-9676,
GHSA-72x6 of BuildKit: a device or a giant in their place). Names are looked up here and not by the C library, which
would load code of the image. Standard library only.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from ci_env_runners import syscalls

_MAX_BYTES = 1 << 20
_MAX_ID = 2**31 - 1
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class Unknown(Exception):  # a result, told to whom it concerns
    """The user or group is not one of the image's, or has an id that does not exist inside."""


class Identity(NamedTuple):
    uid: int
    gid: int
    groups: tuple[int, ...]
    """supplementary"""
    home: str


def look_up(user: str, *, ids: int) -> Identity:
    """Return who `user[:group]` is. Unknown where it is nobody, or beyond the `ids` that there are."""
    name, _, group = user.partition(":")
    entry = _passwd_entry(name)
    if entry is None and not _is_number(name):
        raise Unknown(f"the image has no user {name!r}")
    uid = int(entry[2]) if entry else _number(name)
    gid = _group_id(group) if group else int(entry[3]) if entry else 0
    groups = () if group or entry is None else tuple(_memberships(entry[0]))
    for number in (uid, gid):
        if number >= ids:
            raise Unknown(f"the user {user!r} has id {number}, and here are only {ids}")
    return Identity(uid, gid, tuple(number for number in groups if number < ids), (entry[5] if entry else "") or "/")


def _passwd_entry(name: str) -> list[str] | None:
    """Return the entry of a name, else of a number."""
    entries = [fields for fields in _entries("/etc/passwd", 7) if _is_number(fields[2]) and _is_number(fields[3])]
    for column in (0, 2):
        for fields in entries:
            if fields[column] == name:
                return fields
    return None


def _group_id(group: str) -> int:
    for fields in _entries("/etc/group", 4):
        if fields[0] == group and _is_number(fields[2]):
            return int(fields[2])
    if not _is_number(group):
        raise Unknown(f"the image has no group {group!r}")
    return _number(group)


def _memberships(name: str) -> Iterator[int]:
    for fields in _entries("/etc/group", 4):
        if _is_number(fields[2]) and name in fields[3].split(","):
            yield int(fields[2])


def _entries(path: str, count: int) -> Iterator[list[str]]:
    for line in _read(path).splitlines():
        fields = line.split(":")
        if len(fields) == count:
            yield fields


def _read(path: str) -> str:
    try:
        descriptor = syscalls.openat2(syscalls.AT_FDCWD, path, _OPEN, 0, syscalls.RESOLVE_NO_MAGICLINKS)
    except OSError:
        return ""  # an image without users has none
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        return file.read(_MAX_BYTES).decode(errors="surrogateescape")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10


def _number(text: str) -> int:
    number = int(text)
    if number > _MAX_ID:
        raise Unknown(f"{text} is no user or group id: the largest is {_MAX_ID}")
    return number

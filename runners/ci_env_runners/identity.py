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
_MAX_DIGITS = 10
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class Unknown(Exception):  # a result, told to whom it concerns
    """The user or group is not one of the image's, and no number either."""


class Beyond(Exception):  # likewise
    """The user or group has an id that does not exist inside."""


class Identity(NamedTuple):
    uid: int
    gid: int
    groups: tuple[int, ...]
    """supplementary"""
    home: str


def look_up(user: str, *, ids: int) -> Identity:
    """Return who `user[:group]` is in the rootfs, which is the root by now; as `identify`."""
    return identify(user, _read("/etc/passwd"), _read("/etc/group"), ids=ids)


def identify(user: str, passwd: str, group: str, *, ids: int) -> Identity:
    """Return who `user[:group]` is, by the contents of two files of an image.

    Digits are a number and never a name, whatever the files say (CVE-2024-40635). Unknown where it is nobody, Beyond
    where only the `ids` that there are inside are too few.
    """
    name, _, group_name = user.partition(":")
    entry = _passwd_entry(name, passwd)
    if entry is None and not _is_digits(name):
        raise Unknown(f"the image has no user {name!r}")
    uid = int(entry[2]) if entry else _number(name)
    gid = _group_id(group_name, group) if group_name else int(entry[3]) if entry else 0
    groups = () if group_name or entry is None else tuple(_memberships(entry[0], group))
    for number in (uid, gid):
        if number >= ids:
            raise Beyond(f"the user {user!r} has id {number}, and inside a sandbox of this host there are only {ids}")
    return Identity(uid, gid, tuple(number for number in groups if number < ids), (entry[5] if entry else "") or "/")


def _passwd_entry(name: str, passwd: str) -> list[str] | None:
    entries = (fields for fields in _entries(passwd, 7) if _is_id(fields[2]) and _is_id(fields[3]))
    if _is_digits(name):
        number = _number(name)
        return next((fields for fields in entries if int(fields[2]) == number), None)
    return next((fields for fields in entries if fields[0] == name), None)


def _group_id(name: str, group: str) -> int:
    if _is_digits(name):
        return _number(name)
    for fields in _entries(group, 4):
        if fields[0] == name and _is_id(fields[2]):
            return int(fields[2])
    raise Unknown(f"the image has no group {name!r}")


def _memberships(name: str, group: str) -> Iterator[int]:
    for fields in _entries(group, 4):
        if _is_id(fields[2]) and name in fields[3].split(","):
            yield int(fields[2])


def _entries(content: str, count: int) -> Iterator[list[str]]:
    """Yield the lines that have `count` fields. Only a newline ends a line: others may be in a name."""
    for line in content.split("\n"):
        fields = line.split(":")
        if len(fields) == count and "\0" not in line:  # no name or path of a process can hold it
            yield fields


def _read(path: str) -> str:
    """Return what is in a file of the rootfs; nothing where it is none, as in an image without users."""
    try:
        descriptor = syscalls.openat2(syscalls.AT_FDCWD, path, _OPEN, 0, syscalls.RESOLVE_NO_MAGICLINKS)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        return os.read(descriptor, _MAX_BYTES).decode(errors="surrogateescape")
    except OSError:  # one of /proc that a link led to
        return ""
    finally:
        os.close(descriptor)


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _is_id(text: str) -> bool:
    return _is_digits(text) and len(text) <= _MAX_DIGITS and int(text) <= _MAX_ID


def _number(text: str) -> int:
    if not _is_id(text):
        raise Unknown(f"{text} is no user or group id: the largest is {_MAX_ID}")
    return int(text)

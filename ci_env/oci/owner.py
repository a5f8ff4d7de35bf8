"""Names of users and groups to ids, by the files of a rootfs (passwd(5), group(5)). Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ci_env.errors import ConfigError

_MAX_ID = 2**32 - 2  # chown(2): -1 means "leave as it is"


def find_owner(text: str, passwd: bytes, group: bytes) -> tuple[int, int]:
    """Return the ids that `user[:group]` names. ConfigError for a name that the files do not have.

    Without a group: the user's first group, or for a number the group of the same number, as in docker.
    """
    user, colon, other = text.partition(":")
    uid, gid = _user(user, passwd)
    return uid, _group(other, group) if colon and other else gid


def _user(user: str, passwd: bytes) -> tuple[int, int]:
    number = _number(user)
    if number is not None:
        return number, number
    for fields in _lines(passwd, user):
        uid, gid = (_number(field) for field in fields[2:4])
        if uid is not None and gid is not None:
            return uid, gid
    raise ConfigError(f"there is no user {user!r} in the image's /etc/passwd")


def _group(name: str, group: bytes) -> int:
    number = _number(name)
    if number is not None:
        return number
    for fields in _lines(group, name):
        gid = _number(fields[2])
        if gid is not None:
            return gid
    raise ConfigError(f"there is no group {name!r} in the image's /etc/group")


def _lines(content: bytes, name: str) -> Iterator[list[str]]:
    """Yield the fields of the lines for `name`, at least four of them."""
    for line in content.decode("utf-8", "surrogateescape").split("\n"):
        fields = line.split(":")
        if fields[0] == name and len(fields) >= 3:
            yield [*fields, ""]


def _number(text: str) -> int | None:
    """Return the id that `text` is, None for a name."""
    if not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(_MAX_ID)) or int(digits) > _MAX_ID:
        raise ConfigError(f"{text[:40]} is no id that a user or group can have")
    return int(digits)

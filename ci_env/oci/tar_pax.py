"""Extended header records of POSIX tar (`pax`, IEEE Std 1003.1 "pax Extended Header"). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ci_env.oci.tar_header import damaged, shown
from ci_env.oci.tar_sparse import Sparse, from_records

_XATTR = b"SCHILY.xattr."
_NUMBER = re.compile(rb"[0-9]{1,20}\Z")
_TIME = re.compile(rb"([+-]?)([0-9]{1,20})(?:\.([0-9]*))?\Z")


@dataclass(frozen=True, slots=True)
class Pax:
    """What the records say of the next entry; None: nothing, so its own header counts."""

    path: bytes | None = None
    link: bytes | None = None
    size: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    sparse: Sparse | None = None


def parse_pax(content: bytes) -> Pax:
    """Return what is used of the records in `content`; unknown keys are ignored, as POSIX asks. ConfigError if damaged.

    An empty value takes a record back. A key twice: the last one counts.
    """
    listed = _records(content)
    records = {name: value for name, value in listed if value or name.startswith(_XATTR)}
    return Pax(
        path=_name(records, b"path"),
        link=_name(records, b"linkpath"),
        size=_number(records, b"size"),
        uid=_number(records, b"uid"),
        gid=_number(records, b"gid"),
        mtime_ns=_time(records, b"mtime"),
        xattrs={name[len(_XATTR) :]: value for name, value in records.items() if name.startswith(_XATTR)},
        sparse=from_records(listed),
    )


def _records(content: bytes) -> list[tuple[bytes, bytes]]:
    """Split `length key=value newline`, where the length counts itself and the newline."""
    records: list[tuple[bytes, bytes]] = []
    at = 0
    while at < len(content):
        space = content.find(b" ", at, at + 21)
        length = content[at:space] if space > 0 else b""
        if not _NUMBER.match(length) or int(length) <= 0:
            raise damaged("an extended header has a record without a length")
        end = at + int(length)
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if end > len(content) or content[end - 1 : end] != b"\n" or not equals or not key:
            raise damaged("an extended header has a record that is not `key=value`")
        records.append((key, value))
        at = end
    return records


def _name(records: Mapping[bytes, bytes], key: bytes) -> bytes | None:
    value = records.get(key)
    if value is not None and b"\0" in value:
        raise damaged(f"the name {shown(value)} holds a NUL")
    return value


def _number(records: Mapping[bytes, bytes], key: bytes) -> int | None:
    value = records.get(key)
    if value is not None and not _NUMBER.match(value):
        raise damaged(f"{key.decode()}={shown(value)} in an extended header is not a number")
    return None if value is None else int(value)


def _time(records: Mapping[bytes, bytes], key: bytes) -> int | None:
    """Return nanoseconds, in integers throughout: a float has not enough digits."""
    value = records.get(key)
    if value is None:
        return None
    match = _TIME.match(value)
    if not match:
        raise damaged(f"{key.decode()}={shown(value)} in an extended header is not a time")
    sign, seconds, fraction = match.groups(default=b"")
    nanoseconds = int(seconds) * 10**9 + int(fraction[:9].ljust(9, b"0"))
    return -nanoseconds if sign == b"-" else nanoseconds

"""What rpm's databases say is installed: SQLite (Fedora, RHEL 9 and later) and ndb (SUSE). Trusts nothing in them.

Sources: rpm's lib/backend/sqlite.c and lib/backend/ndb/rpmpkg.c, and its docs/format_header.md. Not read: Berkeley DB,
which rpm up to 4.15 had (RHEL 8 and before).
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator

from ci_env.oci.package_forms import Found

_NAME, _VERSION, _RELEASE, _EPOCH, _ARCH = 1000, 1001, 1002, 1003, 1022
_INT32, _STRING, _I18N = 4, 6, 9
_MAX_HEADER_ENTRIES = 2**16
_MAX_PACKAGES = 100_000
_MAX_INSTRUCTIONS = 200_000_000
_LONGEST = 300
_HIDDEN = 6
"""the field of table_xinfo that says whether a column is generated: https://www.sqlite.org/pragma.html"""
_PAGE, _SLOT, _BLOCK, _BLOB_HEADER = 4096, 16, 16, 16
_MAX_SLOT_PAGES = 2**14


class RpmError(ValueError):
    """A database that cannot be read, and why."""


def from_sqlite(database: bytes) -> Iterator[Found]:
    """Yield the packages of a `rpmdb.sqlite`. RpmError. Nothing of it is executed but the reading of one table."""
    if _pages(database) > len(database):
        raise RpmError("it is cut short")
    connection = sqlite3.connect(":memory:")
    try:
        connection.deserialize(_without_journal(database))
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, len(database))
        connection.set_progress_handler(_Budget(_MAX_INSTRUCTIONS).spend, 1000)
        kind = connection.execute("SELECT type, sql FROM sqlite_schema WHERE name = 'Packages'").fetchone()
        if kind is None or kind[0] != "table" or "virtual" in str(kind[1]).lower():
            raise RpmError("it has no table of packages")
        if any(column[_HIDDEN] for column in connection.execute("PRAGMA table_xinfo('Packages')")):
            raise RpmError("its table of packages computes what it says")
        whole = _Whole(len(database))
        for (blob,) in connection.execute("SELECT blob FROM Packages LIMIT ?", (_MAX_PACKAGES,)):
            if isinstance(blob, bytes):
                whole.take(len(blob))
                yield from _package(blob)
    except sqlite3.Error as error:
        raise RpmError(f"it is no database: {error}") from error
    finally:
        connection.close()


def from_ndb(database: bytes) -> Iterator[Found]:
    """Yield the packages of a `Packages.db`. RpmError."""
    if database[:4] != b"RpmP" or len(database) < 32:
        raise RpmError("it is no database of this kind")
    pages = struct.unpack_from("<I", database, 12)[0]
    if not 0 < pages <= _MAX_SLOT_PAGES:
        raise RpmError(f"it has {pages} pages of slots")
    whole = _Whole(len(database))
    for offset in range(32, min(pages * _PAGE, len(database) - _SLOT + 1), _SLOT):
        magic, number, block, _ = struct.unpack_from("<4sIII", database, offset)
        if magic == b"Slot" and number and block:
            blob = _blob(database, block * _BLOCK, number)
            whole.take(_BLOB_HEADER + len(blob))
            yield from _package(blob)


def _blob(database: bytes, offset: int, number: int) -> memoryview:
    if offset + _BLOB_HEADER > len(database):
        raise RpmError("it is cut short")
    magic, found, _, size = struct.unpack_from("<4sIII", database, offset)
    if magic != b"BlbS" or found != number:
        raise RpmError("it is damaged")
    return memoryview(database)[offset + _BLOB_HEADER :][:size]


class _Whole:
    """How much of a database there is for the rest of its packages: no two lie in the same place of one that is sound.

    So nothing small can say much: not by a list of pages that leads round and round, nor by naming a place many times.
    """

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise RpmError("its packages are larger than itself")


class _Budget:
    """How much a query may still do."""

    def __init__(self, instructions: int) -> None:
        self._left = instructions

    def spend(self) -> int:
        """Take what a query has done since the last call; return whether it is to be ended."""
        self._left -= 1000
        return self._left < 0


def _without_journal(database: bytes) -> bytes:
    """Return the database as one without a write-ahead log, which is not part of it (fileformat2, 1.3.3)."""
    return database[:18] + b"\x01\x01" + database[20:]


def _pages(database: bytes) -> int:
    """Return the size that a database says it has, in bytes (fileformat2, 1.3.2 and 1.3.8); 0: it does not say."""
    if len(database) < 100 or database[24:28] != database[92:96]:
        return 0
    size = int.from_bytes(database[16:18], "big")
    return (2**16 if size == 1 else size) * int.from_bytes(database[28:32], "big")


def _package(header: bytes | memoryview) -> Iterator[Found]:
    """Yield the package of a header, as `NAME.ARCHITECTURE` and `[EPOCH:]VERSION-RELEASE`; nothing of a damaged one."""
    try:
        values = _values(header)
    except (struct.error, IndexError):
        return
    if _NAME not in values or _VERSION not in values or values[_NAME] == "gpg-pubkey":
        return
    epoch = f"{values[_EPOCH]}:" if values.get(_EPOCH, "0") != "0" else ""
    name = f"{values[_NAME]}.{values[_ARCH]}" if _ARCH in values else values[_NAME]
    yield name, f"{epoch}{values[_VERSION]}-{values.get(_RELEASE, '')}"


def _values(header: bytes | memoryview) -> dict[int, str]:
    count, size = struct.unpack_from(">II", header)
    if count > _MAX_HEADER_ENTRIES:
        raise IndexError
    store = header[8 + 16 * count :][:size]
    values: dict[int, str] = {}
    for place in range(count):
        tag, kind, offset, _ = struct.unpack_from(">IIII", header, 8 + 16 * place)
        if tag not in (_NAME, _VERSION, _RELEASE, _EPOCH, _ARCH):
            continue
        if kind == _INT32:
            values[tag] = str(struct.unpack_from(">I", store, offset)[0])
        elif kind in (_STRING, _I18N):
            values[tag] = bytes(store[offset : offset + _LONGEST]).split(b"\0", 1)[0].decode(errors="replace")
    return values

"""Sparse files in tar archives: GNU's own form, and pax 0.0, 0.1 and 1.0. Pure. GNU tar manual, "Storing Sparse Files".

A map says which parts of a file are in the archive, one after another; all else is zeros.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from ci_env.frozen import dataclass
from ci_env.oci.tar_header import BLOCK, damaged, number

Part = tuple[int, int]
"""offset and size of what is stored"""

_PREFIX = b"GNU.sparse."
_DECIMAL = re.compile(rb"[0-9]{1,19}\Z")
_MAX_PARTS = 100_000
_MAX_GIB = 64  # as much as a layer may hold
_FIELD = 12
_IN_HEADER = 4
_PER_BLOCK = 21


@dataclass(frozen=True, slots=True)
class Sparse:
    """What extended records say of a sparse file."""

    name: bytes | None
    size: int
    """of the whole file"""
    parts: tuple[Part, ...] | None
    """None: they stand in front of the content"""


def from_records(records: Sequence[tuple[bytes, bytes]]) -> Sparse | None:
    """Return what pax records say of a sparse file; None if they do not. ConfigError if they make no sense."""
    own = [(key.removeprefix(_PREFIX), value) for key, value in records if key.startswith(_PREFIX)]
    if not own:
        return None
    known = dict(own)
    size = decimal(known.get(b"realsize", known.get(b"size", b"")))
    if b"major" in known:
        return Sparse(known.get(b"name"), size, None)
    if b"map" in known:
        numbers = [decimal(field) for field in known[b"map"].split(b",")] if known[b"map"] else []
    else:
        numbers = [decimal(value) for key, value in own if key in (b"offset", b"numbytes")]
    return Sparse(known.get(b"name"), size, _pairs(numbers))


def from_header(fields: bytes, block: Callable[[], bytes]) -> tuple[int, tuple[Part, ...]]:
    """Return size and parts by GNU's header, from its byte 386 on; `block` gives the blocks after it."""
    at = _IN_HEADER * 2 * _FIELD
    size, has_more = number(fields[at + 1 : at + 1 + _FIELD]), fields[at]
    parts = list(_listed(fields[:at]))
    while has_more:
        more = block()
        if len(more) < BLOCK or len(parts) > _MAX_PARTS:
            raise damaged("the map of a sparse file does not end")
        parts += _listed(more[: _PER_BLOCK * 2 * _FIELD])
        has_more = more[_PER_BLOCK * 2 * _FIELD]
    return size, tuple(parts)


def from_content(block: Callable[[], bytes]) -> tuple[Part, ...]:
    """Return the parts by the map in front of a file's content, pax 1.0; `block` gives its blocks."""
    numbers: list[int] = []
    rest = b""
    while not numbers or len(numbers) <= 2 * numbers[0]:
        more = block()
        if not more or len(rest) > BLOCK or len(numbers) > 2 * _MAX_PARTS:
            raise damaged("the map of a sparse file does not end")
        *lines, rest = (rest + more).split(b"\n")
        numbers += map(decimal, lines)
    return _pairs(numbers[1 : 1 + 2 * numbers[0]])


def decimal(text: bytes) -> int:
    if not _DECIMAL.match(text):
        raise damaged("the map of a sparse file holds something that is not a number")
    return int(text)


def _listed(fields: bytes) -> Iterator[Part]:
    for at in range(0, len(fields), 2 * _FIELD):
        offset, size = fields[at : at + _FIELD], fields[at + _FIELD : at + 2 * _FIELD]
        if not offset[0]:
            return
        yield number(offset), number(size)


def _pairs(numbers: Sequence[int]) -> tuple[Part, ...]:
    if len(numbers) % 2:
        raise damaged("the map of a sparse file lacks a size")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


class Cursor:
    """A place in a sparse file, which moves to its end."""

    def __init__(self, parts: Sequence[Part], size: int, stored: int) -> None:
        """ConfigError unless `parts` follow each other, within `size`, and are `stored` bytes in all."""
        if size > _MAX_GIB * 2**30:
            raise damaged(f"a sparse file is larger than {_MAX_GIB} GiB")
        end = 0
        for offset, length in parts:
            if offset < end or length < 0 or offset + length > size:
                raise damaged("the parts of a sparse file overlap, or lie outside it")
            end = offset + length
        if sum(length for _, length in parts) != stored:
            raise damaged("the parts of a sparse file are not what its map says")
        self._parts = iter([*(part for part in parts if part[1]), (size, 0)])
        self._offset, self._left = next(self._parts)
        self._at = 0

    def hole(self) -> int:
        """Return how many zeros come next."""
        return self._offset - self._at

    def data(self) -> int:
        """Return how many stored bytes come next, after the hole; 0 at the end."""
        return self._left

    def pass_hole(self, size: int) -> None:
        self._at += size

    def pass_data(self, size: int) -> None:
        self._at += size
        self._offset += size
        self._left -= size
        if not self._left:
            self._offset, self._left = next(self._parts, (self._offset, 0))

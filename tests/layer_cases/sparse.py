"""Archives with one sparse file named `sparse`, in each form, by the parts of it that are data (GNU tar manual)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tests.oci_builder import BLOCK, END, Item, entry, f, header, pax_records

Parts = Mapping[int, bytes]
"""data by offset"""

_TEXT = "sparse"


def content(parts: Parts, size: int) -> bytes:
    """Return the whole file."""
    whole = bytearray(size)
    for offset, data in parts.items():
        whole[offset : offset + len(data)] = data
    return bytes(whole)


def ways(parts: Parts, size: int) -> list[bytes]:
    """Return archives: GNU's form, pax 0.0, 0.1 and 1.0."""
    numbers = [number for offset, data in parts.items() for number in (offset, len(data))]
    pairs = b"".join(
        pax_records({b"GNU.sparse.offset": b"%d" % offset, b"GNU.sparse.numbytes": b"%d" % len(data)})
        for offset, data in parts.items()
    )
    known = {b"GNU.sparse.size": b"%d" % size, b"GNU.sparse.numblocks": b"%d" % len(parts)}
    stored = b"".join(parts.values())
    listed = b"".join(b"%d\n" % number for number in (len(parts), *numbers))
    version = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.name": _TEXT.encode()}
    return [
        _gnu(parts, size),
        _pax(_TEXT, pax_records(known) + pairs, stored),
        _pax(
            "GNUSparseFile.0/sparse",
            pax_records(known | {b"GNU.sparse.map": b",".join(b"%d" % number for number in numbers)})
            + pax_records({b"GNU.sparse.name": _TEXT.encode()}),
            stored,
        ),
        _pax(
            "GNUSparseFile.0/sparse",
            pax_records(version | {b"GNU.sparse.realsize": b"%d" % size}),
            listed + bytes(-len(listed) % BLOCK) + stored,
        ),
    ]


def broken() -> list[bytes]:
    """Return archives whose maps do not end or are no numbers."""
    endless = bytearray(header(replace(f(_TEXT), type=b"S")))
    endless[386:410] = b"%011o\0%011o\0" % (0, 0)
    endless[482:495] = b"\1" + b"%011o\0" % 5
    records = pax_records({b"GNU.sparse.major": b"1", b"GNU.sparse.realsize": b"9"})
    return [
        _summed(endless),
        *(_pax(_TEXT, records, map_) for map_ in (b"", b"2\n0\n", b"1\n0\nx\n", b"-1\n", b"9" * 5000)),
        *(
            _pax(_TEXT, pax_records({b"GNU.sparse.size": b"9", b"GNU.sparse.map": map_}), b"")
            for map_ in (b"1", b",", b"x")
        ),
        _pax(_TEXT, pax_records({b"GNU.sparse.size": b"-9"}), b""),
        _pax(_TEXT, pax_records({b"GNU.sparse.unknown": b"1"}), b""),
    ]


def _pax(name: str, records: bytes, stored: bytes) -> bytes:
    extended = entry(Item(b"pax", b"x", records))
    return extended + entry(f(name, stored)) + END


def _gnu(parts: Parts, size: int) -> bytes:
    """Return an archive in GNU's form: four parts in the header, 21 in each block after it."""
    stored = b"".join(parts.values())
    fields = [_field(offset) + _field(len(data)) for offset, data in parts.items()]
    block = bytearray(header(replace(f("sparse"), type=b"S", size=len(stored))))
    block[386 : 386 + 24 * 4] = b"".join(fields[:4]).ljust(24 * 4, b"\0")
    block[482] = len(fields) > 4
    block[483:495] = _field(size)
    more = b""
    for at in range(4, len(fields), 21):
        more += b"".join(fields[at : at + 21]).ljust(24 * 21, b"\0") + bytes([at + 21 < len(fields)]) + bytes(7)
    return _summed(block) + more + stored + bytes(-len(stored) % BLOCK) + END


def _field(number: int) -> bytes:
    return b"%011o\0" % number if number < 8**11 else b"\x80" + number.to_bytes(11, "big")


def _summed(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)

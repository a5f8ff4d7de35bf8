"""Amounts of bytes, in words that all views share."""

from __future__ import annotations

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024


def size(size_bytes: int) -> str:
    """Return `512 B` or `41.2 MiB`."""
    unit = _unit(size_bytes)
    return f"{_in_unit(size_bytes, unit)} {_UNITS[unit]}"


def part(done_bytes: int, total_bytes: int | None) -> str:
    """Return `4.2 of 41.2 MiB`, both in the unit of the total; without one as `size`."""
    if total_bytes is None:
        return size(done_bytes)
    unit = _unit(total_bytes)
    return f"{_in_unit(done_bytes, unit)} of {size(total_bytes)}"


def rate(bytes_per_s: float) -> str:
    """Return `12.3 MiB/s`."""
    return f"{size(int(bytes_per_s))}/s"


def _unit(size_bytes: int) -> int:
    unit = 0
    while size_bytes >= _STEP ** (unit + 1) and unit < len(_UNITS) - 1:
        unit += 1
    return unit


def _in_unit(size_bytes: int, unit: int) -> str:
    return f"{size_bytes / _STEP**unit:.1f}" if unit else str(size_bytes)

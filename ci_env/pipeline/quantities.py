"""Durations and sizes as people write them: `1h30m`, `2GiB`. Pure functions from text to numbers, and back."""

from __future__ import annotations

import re

DURATION_PATTERN = r"^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,9}s)?$"
SIZE_PATTERN = r"^([0-9]{1,15}) ?(B|[kK]B|[KMGT]iB|[MGT]B)$"
MAX_DURATION_S = 10**9
MAX_SIZE_BYTES = 2**60
_DURATION = re.compile(DURATION_PATTERN.replace("$", r"\Z"))
_SIZE = re.compile(SIZE_PATTERN.replace("$", r"\Z"))
_SECONDS = {"h": 3600, "m": 60, "s": 1}
_BYTES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_WRITTEN = ("B", "KiB", "MiB", "GiB", "TiB", "MB", "GB", "TB")


def parse_duration(text: str) -> int:
    """Return the seconds that `text` means, hours first: `90s`, `15m`, `1h30m`. ValueError if it is no duration."""
    if not text or not _DURATION.match(text):
        raise ValueError(f"not a duration: {text!r}")
    return sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9]+)([hms])", text))


def parse_size(text: str) -> int:
    """Return the bytes that `text` means: `512MB` in powers of 1000, `2GiB` of 1024. ValueError if it is no size."""
    match = _SIZE.match(text)
    if not match:
        raise ValueError(f"not a size: {text!r}")
    return int(match[1]) * _BYTES[match[2]]


def written_size(size_bytes: int) -> str:
    """Return `size_bytes` as `parse_size` reads it, in the largest unit that it is a whole number of."""
    candidates = (unit for unit in _WRITTEN if size_bytes % _BYTES[unit] == 0 and size_bytes >= _BYTES[unit])
    unit = max(candidates, key=lambda unit: _BYTES[unit], default="B")
    return f"{size_bytes // _BYTES[unit]}{unit}"

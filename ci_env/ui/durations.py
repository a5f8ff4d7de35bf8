"""How long something took, in words that all views share."""

from __future__ import annotations

_SECOND_MS = 1000
_MINUTE_MS = 60 * _SECOND_MS
_HOUR_MS = 60 * _MINUTE_MS


def duration(duration_ms: int) -> str:
    """Return `12 ms`, `3.4 s`, `2 min 05 s` or `1 h 02 min`; cut off, never rounded up."""
    if duration_ms < _SECOND_MS:
        return f"{duration_ms} ms"
    if duration_ms < _MINUTE_MS:
        return f"{duration_ms // _SECOND_MS}.{duration_ms % _SECOND_MS // 100} s"
    if duration_ms < _HOUR_MS:
        return f"{duration_ms // _MINUTE_MS} min {duration_ms % _MINUTE_MS // _SECOND_MS:02} s"
    return f"{duration_ms // _HOUR_MS} h {duration_ms % _HOUR_MS // _MINUTE_MS:02} min"

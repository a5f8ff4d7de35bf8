"""A clock that stands still during pauses: time limits are measured by it. Pure but for the time."""

from __future__ import annotations

import time


class Clock:
    """Safe to use from several threads and in a signal handler: nothing is locked, and it is never ahead."""

    def __init__(self) -> None:
        self._stopped_at: float | None = None
        self._lost_s = 0.0

    @property
    def is_stopped(self) -> bool:
        return self._stopped_at is not None

    def now(self) -> float:
        """Return seconds since some moment, without those of pauses."""
        stopped_at = self._stopped_at
        return (time.monotonic() if stopped_at is None else stopped_at) - self._lost_s

    def stop(self) -> None:
        if self._stopped_at is None:
            self._stopped_at = time.monotonic()

    def go_on(self) -> None:
        stopped_at = self._stopped_at
        if stopped_at is not None:
            self._lost_s += time.monotonic() - stopped_at  # first, or the clock would jump ahead for a moment
            self._stopped_at = None

"""As much of a run's record as the store sees: its id, and what it needs."""

from __future__ import annotations

from dataclasses import dataclass

from ci_env.digest import Digest


@dataclass(frozen=True)
class Record:
    version: int
    run_id: str
    needs: tuple[Digest, ...]

"""Results of steps by their keys, and which result a place in a pipeline had last. Owns `steps/`.

`steps/KEY.json` is a result; `steps/last-PLACE.json` names the key that a place had last, and the one before, so that a
miss can be explained by what has changed: before the step runs again, and after.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ci_env import digest
from ci_env.digest import Digest
from ci_env.frozen import dataclass
from ci_env.store.documents import Documents
from ci_env.store.home import Store
from ci_env.store.locks import exclusive

STEP_RESULT_VERSION = 1


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step that passed has left. Good for another run only over the same layers, and while `layer` is there."""

    version: Literal[1]
    key: Digest
    preimage: str
    """canonical JSON, whose digest is the key"""
    before: tuple[Digest, ...]
    """layers that the step saw, bottom first"""
    layer: Digest
    """its own"""
    output: Digest
    """its log, a blob"""
    artifacts: Digest | None
    """a tar, a blob"""
    duration_ms: int


@dataclass(frozen=True, slots=True)
class _Last:
    version: Literal[1]
    key: Digest
    previous: Digest | None


def step_place(project: Digest, *, job: str, step: str) -> Digest:
    """Return the identity of a step across versions of its pipeline: what keeps its name is the same step."""
    return digest.key("place", {"project": project, "job": job, "step": step})


class Steps:
    """Safe to use from several threads and processes."""

    def __init__(self, store: Store) -> None:
        self._results = Documents(store.steps, StepResult)
        self._last = Documents(store.steps, _Last)
        self._locks = store.locks

    def load(self, key: Digest) -> StepResult | None:
        """Return the result; None where it is absent or damaged."""
        result = self._results.load(key.hex)
        return result if result is not None and result.key == key else None

    def save(self, result: StepResult, *, place: Digest) -> None:
        """Keep the result, as the last one of its place and instead of an older one, which was not good enough.

        Not durable before `Layers.seal`, no more than its layer is.
        """
        self._results.save(result.key.hex, result)
        self.remember(place, result.key)

    def save_unless(self, is_good: Callable[[StepResult], bool], result: StepResult, *, place: Digest) -> StepResult:
        """Keep the result as `save` does, but not instead of one that `is_good`; return the one that is kept."""
        with exclusive(self._locks / f"step-{result.key.hex}.lock", wait=True):
            known = self.load(result.key)
            if known is not None and is_good(known):
                self.remember(place, known.key)
                return known
            self.save(result, place=place)
        return result

    def remember(self, place: Digest, key: Digest) -> None:
        """Note that the place has the result `key` now; for a step that was found, not run."""
        last = self._last.load(_last_name(place))
        if last is None or last.key != key:
            self._last.save(_last_name(place), _Last(1, key, last.key if last else None))

    def last(self, place: Digest) -> StepResult | None:
        """Return the result that the place had last; None where it had none, or it is gone."""
        last = self._last.load(_last_name(place))
        return None if last is None else self.load(last.key)

    def previous(self, place: Digest) -> StepResult | None:
        """Return the result that the place had before its last one; None where it had none, or it is gone."""
        last = self._last.load(_last_name(place))
        return None if last is None or last.previous is None else self.load(last.previous)


def _last_name(place: Digest) -> str:
    return f"last-{place.hex}"

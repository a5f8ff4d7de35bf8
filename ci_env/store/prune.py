"""Removes what has not been used for long, beside commands that use the store. Owns what goes and in which order.

Nothing goes that a running command uses, or that the record of a run that stays speaks of. How that is so without
stopping anybody: docs/adr/0014.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.files import explained
from ci_env.frozen import dataclass
from ci_env.store.home import Store
from ci_env.store.locks import exclusive
from ci_env.store.runs import Runs
from ci_env.store.survey import Item, R, Survey, Surveyor, last_seen
from ci_env.store.uses import Uses


@dataclass(frozen=True, slots=True)
class Limits:
    """What may stay."""

    used_since: float
    """seconds since 1970: what was used later stays"""
    keep_runs: int
    """so many of the newest runs stay in any case, with what they need"""
    max_bytes: int | None
    """what was used least recently goes, too, until the store is no larger"""


def choose(survey: Survey, limits: Limits, sizes: Mapping[Path, int]) -> tuple[Item, ...]:
    """Return what is to go, first what was used least recently. Pure. `sizes` are looked at only for `max_bytes`."""
    free = sorted((item for item in survey.items if item.digest not in survey.needed), key=lambda item: item.last_use)
    chosen = [item for item in free if item.last_use < limits.used_since]
    if limits.max_bytes is not None:
        excess = sum(sizes.values()) - sum(sizes[item.path] for item in chosen) - limits.max_bytes
        more = iter(free[len(chosen) :])
        while excess > 0 and (item := next(more, None)):
            chosen.append(item)
            excess -= sizes[item.path]
    return tuple(chosen)


class Pruning:
    """Removes items. `scratch` is a directory of this command alone; `discard` removes what lies there."""

    def __init__(self, store: Store, uses: Uses, scratch: Path, discard: Callable[[Path], None]) -> None:
        self._store = store
        self._uses = uses
        self._scratch = scratch
        self._discard = discard
        self._numbers = itertools.count()

    def carry_out(self, chosen: Sequence[Item], survey: Survey, surveyor: Surveyor[R], runs: Runs[R]) -> list[Item]:
        """Remove what is chosen and still free; return what has been removed."""
        claimed = [item for item in chosen if item.digest is None or self._uses.claim(item.digest)]
        try:
            needed = _needed_since(survey, surveyor)
            free = [item for item in claimed if item.digest not in needed and _is_as_seen(item)]
            removed = [item for item in free if self._take_away(item, runs)]
        finally:
            for item in claimed:
                if item.digest is not None:
                    self._uses.release(item.digest)
        for directory in sorted(self._scratch.glob("pruned-*")):
            self._discard(directory)
        return removed

    def _take_away(self, item: Item, runs: Runs[R]) -> bool:
        """Take the item's name away; return whether it had one still."""
        if item.kind == "run":
            return _remove_run(runs, item.path.name)
        if item.path.parent == self._store.locks:
            return _remove_lock(item.path)
        with explained("remove", item.path):
            try:
                self._move(item.path)
                if item.kind == "cache":
                    item.path.with_name(f"{item.path.name}.used").unlink(missing_ok=True)
            except FileNotFoundError:
                return False
        return True

    def _move(self, path: Path) -> None:
        """Unlink a file; move a directory to the scratch, or remove it in place where it is another id's."""
        if not path.is_dir() or path.is_symlink():
            path.unlink()
            return
        try:
            path.rename(self._scratch / f"pruned-{next(self._numbers)}")
        except PermissionError:  # a step has made itself the owner of its cache
            self._discard(path)


def _needed_since(survey: Survey, surveyor: Surveyor[R]) -> frozenset[Digest]:
    """Return what records need that were written after the survey."""
    fresh = [record.run for record in surveyor.records() - survey.records]
    return frozenset(digest for run in fresh for digest in surveyor.needs_of(run))


def _is_as_seen(item: Item) -> bool:
    """Tell whether nobody has used the item since the survey, who has ended already."""
    with suppress(FileNotFoundError):
        return last_seen(item) == item.seen
    return False


def _remove_run(runs: Runs[R], run: str) -> bool:
    with suppress(ConfigError):  # it goes on, or somebody else was first
        runs.remove(run)
        return True
    return False


def _remove_lock(path: Path) -> bool:
    with exclusive(path, wait=False) as is_unused:
        if is_unused:
            with suppress(FileNotFoundError):
                os.unlink(path)
        return is_unused

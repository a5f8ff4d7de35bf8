"""Differences between two runs as data, and what is asked to find them. Owns no decision. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from ci_env.digest import Digest
from ci_env.frozen import dataclass
from ci_env.replay.weights import Kind

MAX_ITEMS = 1000
How = Literal["added", "removed", "changed", "content", "mode", "owner", "kind"]
"""from the first run to the second"""
Values = tuple[str | None, str | None]
"""of the first run and of the second; None: there is nothing"""


@dataclass(frozen=True, slots=True)
class Item:
    """One of the files or packages that make up a difference."""

    name: str
    how: How
    old: str | None = None
    new: str | None = None


Changes = tuple[tuple[Item, ...], int]
"""the first MAX_ITEMS, and how many there are"""
NOTHING: Changes = ((), 0)


@dataclass(frozen=True, slots=True)
class Difference:
    kind: Kind
    what: str
    """in words"""
    old: str | None
    """None: there was nothing"""
    new: str | None
    where: tuple[str, ...]
    """jobs, as `JOB`, and steps, as `JOB/STEP`; empty: the run"""
    weight: int
    why: str
    """the reason of the weight"""
    items: tuple[Item, ...] = ()
    """at most MAX_ITEMS"""
    count: int = 0
    """of all items"""


@dataclass(frozen=True, slots=True)
class Comparison:
    differences: tuple[Difference, ...]
    """the likeliest explanation first"""
    unknown: tuple[str, ...]
    """what could not be compared, and why"""


class Look(Protocol):
    """Looks into what two runs have left. Where it is gone, or cannot be read, the answer is None."""

    def packages(self, layers: Sequence[Digest]) -> Mapping[str, str] | None:
        """Return the packages in layers, bottom first: names to versions."""
        ...

    def changes(self, old: Digest, new: Digest) -> Changes | None:
        """Return how the files of two layers differ, and how many do."""
        ...

    def output(self, digest: Digest) -> Sequence[str] | None:
        """Return the lines of a log."""
        ...

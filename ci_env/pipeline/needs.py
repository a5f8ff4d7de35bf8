"""The order of jobs: each after those it needs, else as in the file."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence


class CycleError(ValueError):
    """Jobs that wait for each other; `cycle` begins and ends with the same one."""

    def __init__(self, cycle: Sequence[str]) -> None:
        super().__init__(" -> ".join(cycle))
        self.cycle = tuple(cycle)


def in_order(needs: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the jobs of `needs`, whose values name only its keys. CycleError where there is no such order.

    Of the jobs that could come next, the first in the file does.
    """
    rank = {job: index for index, job in enumerate(needs)}
    waiting = {job: set(needed) for job, needed in needs.items()}
    needed_by: dict[str, list[str]] = {job: [] for job in needs}
    for job, needed in waiting.items():
        for other in needed:
            needed_by[other].append(job)
    ready = [(rank[job], job) for job, needed in waiting.items() if not needed]
    result: list[str] = []
    while ready:
        _, done = heapq.heappop(ready)
        result.append(done)
        for job in needed_by[done]:
            waiting[job].remove(done)
            if not waiting[job]:
                heapq.heappush(ready, (rank[job], job))
    if len(result) < len(needs):
        raise CycleError(_cycle({job: needed for job, needed in needs.items() if waiting[job]}))
    return tuple(result)


def _cycle(stuck: Mapping[str, Sequence[str]]) -> list[str]:
    """Follow the first need that is stuck too, until a job comes again."""
    trail: dict[str, None] = {}
    job = next(iter(stuck))
    while job not in trail:
        trail[job] = None
        job = next(needed for needed in stuck[job] if needed in stuck)
    walked = list(trail)
    return [*walked[walked.index(job) :], job]

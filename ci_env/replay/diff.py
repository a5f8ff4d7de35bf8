"""What differs between two runs, in the order in which to look at it. Sees records; asks `Look` what lies in layers.

Differences that came of others are in the list too, but last: how steps ended, what they wrote and left.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ci_env.capsule.record import JobRecord, Record, StepRecord
from ci_env.digest import Digest
from ci_env.frozen import dataclass
from ci_env.plan.plan import Job, Plan, Step
from ci_env.replay import outputs
from ci_env.replay.cause import Cause
from ci_env.replay.cause import cause as cause_of
from ci_env.replay.difference import MAX_ITEMS, NOTHING, Changes, Comparison, Difference, How, Item, Look, Values
from ci_env.replay.facts import facts
from ci_env.replay.verdict import Outcome, ending
from ci_env.replay.weights import Kind, weigh

_MAX_PAIRS = 64
"""of layers that are compared, each of which may be read as a whole"""


@dataclass(frozen=True, slots=True)
class _Pair:
    """A step that both runs have."""

    name: str
    old: StepRecord
    new: StepRecord
    plans: tuple[Step, Step]

    @property
    def went_differently(self) -> bool:
        return _fate(self.old) != _fate(self.new)


def compare(old: Record, new: Record, look: Look) -> Comparison:
    """Return all differences of two runs, none where there is none."""
    return _Work(old, new, look).compare()


class _Work:
    """One comparison."""

    def __init__(self, old: Record, new: Record, look: Look) -> None:
        self._old = old
        self._new = new
        self._look = look
        self._pairs = tuple(_pairs(old, new))
        self._suspect = next((pair for pair in self._pairs if _is_suspect(pair)), None)
        self._causes = tuple(dict.fromkeys(self._find_causes()))
        self._before = self._names_before()
        self._unknown: list[str] = []
        self._looked = 0

    def compare(self) -> Comparison:
        found = [
            *self._facts(),
            *self._missing(),
            *self._sources(),
            *self._packages(),
            *itertools.chain.from_iterable(map(self._fates, self._pairs)),
        ]
        found.sort(key=lambda difference: -difference.weight)  # stable: else as they were found
        return Comparison(tuple(found), tuple(dict.fromkeys(self._unknown)))

    def _facts(self) -> Iterator[Difference]:
        """Yield the facts that differ, each once for all places where it differs in the same way."""
        has_run = all(record.host.measures for record in (self._old, self._new))
        was, now = (facts(record, has_run=has_run) for record in (self._old, self._new))
        shared = _places(self._old) & _places(self._new)
        found: dict[tuple[Kind, str, str | None, str | None], list[str]] = {}
        for place in dict.fromkeys((*was, *now)):
            values = was.get(place), now.get(place)
            if values[0] != values[1] and place.where in shared and place.kind != "source":
                found.setdefault((place.kind, place.what, *values), []).append(place.where)
        for (kind, what, before, after), where in found.items():
            yield self._difference(kind, what, _shown(kind, before, after), where)

    def _missing(self) -> Iterator[Difference]:
        """Yield jobs and steps that only one of the runs has."""
        was, now = (_places(record) for record in (self._old, self._new))
        for name in sorted(was ^ now):
            job = name.rpartition("/")[0]
            if job and (job in was) != (job in now):
                continue  # its job says so
            kind: Kind = "step" if job else "job"
            yield self._difference(kind, kind, ("planned", None) if name in was else (None, "planned"), [name])

    def _sources(self) -> Iterator[Difference]:
        """Yield how the files of the source differ that steps saw."""
        found: dict[tuple[Digest | None, Digest | None], list[str]] = {}
        for pair in self._pairs:
            layers = tuple(plan.source.layer if plan.source else None for plan in pair.plans)
            if layers[0] != layers[1]:
                found.setdefault((layers[0], layers[1]), []).append(pair.name)
        for (before, after), where in found.items():
            if before is None or after is None:
                values = None if before is None else "seen", None if after is None else "seen"
                yield self._difference("source", "source files", values, where)
                continue
            changes = self._changes(before, after, "the source files of " + where[0])
            if changes is None:
                yield self._difference("source", "source files", (before.hex[:12], after.hex[:12]), where)
            else:
                yield self._source(*changes, where)

    def _source(self, items: tuple[Item, ...], count: int, where: Sequence[str]) -> Difference:
        files = {f"/workspace/{record.file}" for record in (self._old, self._new)}
        others = tuple(item for item in items if item.name not in files)
        if not count:
            return self._difference("source-times", "times of source files", (None, None), where)
        if not others and count == len(items):
            return self._difference("pipeline-file", "pipeline file", (None, None), where, (items, count))
        left_out = len(items) - len(others)
        return self._difference("source", "source files", (None, None), where, (others, count - left_out))

    def _packages(self) -> Iterator[Difference]:
        """Yield how the packages differ that a job's steps saw: the step in question, else the last one that ran."""
        found: dict[tuple[Item, ...], list[str]] = {}
        for pair in _one_of_each_job(self._pairs, self._suspect):
            stacks = (pair.old.before, pair.new.before)
            if stacks[0] == stacks[1] or not all(stacks):
                continue
            was, now = (self._look.packages(stack) for stack in stacks)
            if was is None or now is None:
                self._unknown.append(f"the packages that {pair.name} saw: layers are gone")
            elif items := tuple(_package_items(was, now)):
                found.setdefault(items, []).append(pair.name)
        for items, where in found.items():
            yield self._difference("packages", "packages", (None, None), where, (items[:MAX_ITEMS], len(items)))

    def _fates(self, pair: _Pair) -> Iterator[Difference]:
        """Yield what came of a step, where it differs."""
        if pair.went_differently:
            yield self._difference("ending", "ending", (_ending(pair.old), _ending(pair.new)), [pair.name])
        if not pair.old.after or not pair.new.after or pair.old.after[-1] == pair.new.after[-1]:
            return
        changes: Changes | None = NOTHING
        if pair.old.tree is None or pair.old.tree != pair.new.tree:
            changes = self._changes(pair.old.after[-1], pair.new.after[-1], f"the files that {pair.name} left")
        wrote = self._output(pair)
        yield from wrote
        if changes is not None and changes[1]:
            yield self._difference("result", "files that it left", (None, None), [pair.name], changes)
        is_other = pair.old.key == pair.new.key and (wrote or changes != NOTHING)
        if is_other and (pair.old.status == "cached") != (pair.new.status == "cached"):
            yield self._difference("cached", "result", (_origin(pair.old), _origin(pair.new)), [pair.name])

    def _output(self, pair: _Pair) -> list[Difference]:
        if pair.old.output == pair.new.output:
            return []
        was, now = (self._lines(step) for step in (pair.old, pair.new))
        if was is None or now is None:
            self._unknown.append(f"what {pair.name} wrote: a log is gone")
            return []
        gap = outputs.gap(was, now)
        if not gap.lines:
            return []
        place = outputs.first_place(was, now, gap)
        values = was[place] if place < len(was) else None, now[place] if place < len(now) else None
        return [self._difference("output", f"output, line {place + 1}", values, [pair.name])]

    def _lines(self, step: StepRecord) -> Sequence[str] | None:
        return () if step.output is None else self._look.output(step.output)

    def _changes(self, old: Digest, new: Digest, what: str) -> Changes | None:
        self._looked += 1
        if self._looked > _MAX_PAIRS:
            self._unknown.append(f"files of more than {_MAX_PAIRS} layers")
            return None
        found = self._look.changes(old, new)
        if found is None:
            self._unknown.append(f"{what}: a layer is gone")
        return found

    def _difference(
        self, kind: Kind, what: str, values: Values, where: Sequence[str], changes: Changes = NOTHING
    ) -> Difference:
        places = tuple(place for place in where if place)
        is_elsewhere = bool(places) and self._before is not None and self._before.isdisjoint(places)
        weight, why = weigh(kind, self._causes, is_elsewhere=is_elsewhere)
        return Difference(kind, what, *values, places, weight, why, *changes)

    def _names_before(self) -> set[str] | None:
        """Return what ran before the step in question, with that; None: no step is."""
        if self._suspect is None:
            return None
        names = [pair.name for pair in self._pairs]
        job = self._suspect.name.rpartition("/")[0]
        needed = {job, *(_needed(self._old.plan, job)), *(_needed(self._new.plan, job))}
        before = names[: names.index(self._suspect.name) + 1]
        return needed | {name for name in before if name.rpartition("/")[0] in needed}

    def _find_causes(self) -> Iterator[Cause]:
        if self._suspect is not None:
            for step in (self._suspect.old, self._suspect.new):
                if step.status == "failed" and step.ended is not None:
                    yield cause_of(step.ended, step.exit_code, self._lines(step))


def _pairs(old: Record, new: Record) -> Iterator[_Pair]:
    """Yield the steps that both runs have and came to, in the first one's order."""
    others = {job.name: job for job in new.jobs}
    plans = [{job.name: job for job in record.plan.jobs} for record in (old, new)]
    for job in old.jobs:
        other = others.get(job.name)
        if other is not None and job.name in plans[0] and job.name in plans[1]:
            yield from _step_pairs(job, other, plans[0][job.name], plans[1][job.name])


def _step_pairs(job: JobRecord, other: JobRecord, was: Job, now: Job) -> Iterator[_Pair]:
    steps = {step.name: step for step in other.steps}
    planned = [{step.name: step for step in plan.steps} for plan in (was, now)]
    for step in job.steps:
        if step.name in steps and step.name in planned[0] and step.name in planned[1]:
            plans = planned[0][step.name], planned[1][step.name]
            yield _Pair(f"{job.name}/{step.name}", step, steps[step.name], plans)


def _one_of_each_job(pairs: Iterable[_Pair], suspect: _Pair | None) -> Iterator[_Pair]:
    chosen: dict[str, _Pair] = {}
    for pair in pairs:
        job = pair.name.rpartition("/")[0]
        if chosen.get(job) is not suspect or suspect is None:
            chosen[job] = pair if pair.old.after and pair.new.after else chosen.get(job, pair)
    yield from chosen.values()


def _places(record: Record) -> set[str]:
    jobs = record.plan.jobs
    return {"", *(job.name for job in jobs), *(f"{job.name}/{step.name}" for job in jobs for step in job.steps)}


def _needed(plan: Plan, name: str) -> Iterator[str]:
    """Yield the jobs that a job needs, and what those need."""
    jobs = {job.name: job for job in plan.jobs}
    pending = [name]
    seen: set[str] = set()
    while pending:
        job = jobs.get(pending.pop())
        for needed in () if job is None else (*job.needs, *((job.base,) if job.base else ())):
            if needed not in seen:
                seen.add(needed)
                pending.append(needed)
                yield needed


def _is_suspect(pair: _Pair) -> bool:
    """Tell whether it is a step to be explained: it went differently, or failed in both runs."""
    return pair.went_differently or pair.old.status == "failed"


def _fate(step: StepRecord) -> tuple[object, ...]:
    if step.status in ("passed", "cached"):
        return ("passed",)
    return step.status, step.ended, step.exit_code, None if step.ended == "timeout" else step.signal


def _ending(step: StepRecord) -> str:
    if step.status != "failed" or step.ended is None:
        return "passed" if step.status == "cached" else step.status
    return f"failed: {ending(Outcome(step.ended, step.exit_code, step.signal, None, None))}"


def _package_items(was: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Item]:
    for name in sorted(was.keys() | now.keys()):
        before, after = was.get(name), now.get(name)
        if before != after:
            how: How = "added" if before is None else "removed" if after is None else "changed"
            yield Item(name, how, before, after)


def _origin(step: StepRecord) -> str:
    return "from the store" if step.status == "cached" else "it ran"


def _shown(kind: Kind, old: str | None, new: str | None) -> Values:
    """Return two values so that people see where they differ: of lists and commands the first line that does."""
    if kind == "image":
        return _layers(old, new), _layers(new, old)
    if old is None or new is None or "\n" not in old + new:
        return old, new
    pairs = itertools.zip_longest(old.split("\n"), new.split("\n"))
    return next(pair for pair in pairs if pair[0] != pair[1])


def _layers(value: str | None, other: str | None) -> str | None:
    """Return how many layers there are, and which is the first that the other does not have."""
    if value is None:
        return None
    layers, others = value.split(" "), set((other or "").split(" "))
    first = next((layer for layer in layers if layer not in others), None)
    count = "1 layer" if len(layers) == 1 else f"{len(layers)} layers"
    return count if first is None else f"{count}, {first.partition(':')[2][:12]} first"

"""What the steps of a plan would do now, and why, in words. Shared by those that explain; runs nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import cast

from ci_env.digest import Digest, canonical_json
from ci_env.frozen import dataclass
from ci_env.plan.explain import Difference, FileChange, differences
from ci_env.plan.keys import preimage_in
from ci_env.plan.plan import Job, Plan, Step
from ci_env.resolve.dockerfile import Build
from ci_env.store.layers import Layers
from ci_env.store.steps import StepResult, Steps, step_place
from ci_env.ui.clean import clean

_MAX_FILES = 20
_FILES = ("source", "copy.origin")
"""facts that are ids of layers of files"""

Changes = Callable[[Digest | None, Digest | None, Step], tuple[FileChange, ...] | None]
"""how two layers of files that a step was given differ; None: nobody knows any more"""


@dataclass(frozen=True, slots=True)
class Asking:
    """A plan, and what is needed to ask about it."""

    plan: Plan
    project: Digest
    layers: Layers
    results: Steps
    changes: Changes

    def steps(self) -> tuple[tuple[Job, Step], ...]:
        """Return all steps, in order."""
        return tuple((job, step) for job in self.plan.jobs for step in job.steps)

    def explain(self, job: Job, step: Step) -> Iterator[str]:
        """Yield a line for the step, and one for each reason."""
        name = clean(f"{job.name}/{step.name}")
        place = step_place(self.project, job=job.name, step=step.name)
        last = self.results.last(place)
        if step.when == "on_failure":
            yield f"{name}: never cached, since it runs only after a failure"
        elif last is not None and last.key == step.key:
            yield from self._known(name, last, self.results.previous(place), step)
        elif self.results.load(step.key) is not None:
            yield f"{name}: cached, by an earlier result"
        elif last is None:
            yield f"{name}: will run, as it has never passed here"
        else:
            now = canonical_json(preimage_in(self.plan, job, step)).decode()
            yield f"{name}: will run, because since it last passed"
            yield from self._reasons(last.preimage, now, step)

    def _known(self, name: str, last: StepResult, previous: StepResult | None, step: Step) -> Iterator[str]:
        if not self.layers.has(last.layer):
            yield f"{name}: will run, as the layer that it left has been removed"
            return
        yield f"{name}: cached"
        if previous is not None:
            yield "  it last ran because"
            yield from self._reasons(previous.preimage, last.preimage, step)

    def _reasons(self, old: str, new: str, step: Step) -> Iterator[str]:
        for difference in differences(old, new):
            yield f"  - {clean(difference.words)}"
            if difference.field in _FILES:
                yield from self._files(difference, old, new, step)

    def _files(self, difference: Difference, old: str, new: str, step: Step) -> Iterator[str]:
        was, now = _layer(old, difference.field), _layer(new, difference.field)
        changes = self.changes(was, now, step) or ()
        yield from (f"      {change.how:8} {clean(change.path)}" for change in changes[:_MAX_FILES])
        if len(changes) > _MAX_FILES:
            yield f"      and {len(changes) - _MAX_FILES} more"


def in_build(build: Build, layers: Layers, results: Steps) -> Asking:
    """Return what asks about a build."""

    def changes(old: Digest | None, new: Digest | None, _: Step) -> tuple[FileChange, ...] | None:
        return None if old is None or new is None else build.context.changes(old, new)

    return Asking(build.plan, build.project, layers, results, changes)


def _layer(preimage: str, field: str) -> Digest | None:
    """Return the layer of files that a preimage names; None: it has none."""
    value: object = json.loads(preimage)
    for name in field.split("."):
        value = cast("Mapping[str, object]", value or {}).get(name)
    return None if value is None else Digest.parse(cast("str", value))

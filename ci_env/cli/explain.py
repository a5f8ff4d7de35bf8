"""`ci-env explain`: why does a step run again? Looks at everything a run would look at, and runs nothing."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.cli.pipeline_file import DEFAULT
from ci_env.cli.platform import add_argument as add_platform
from ci_env.errors import ConfigError
from ci_env.frozen import dataclass

if TYPE_CHECKING:
    from ci_env.cli.compiled import Compiled
    from ci_env.cli.opened import Opened
    from ci_env.plan.plan import Job, Step
    from ci_env.store.steps import StepResult, Steps
    from ci_env.tree import Entry

_MAX_FILES = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("step", metavar="STEP", nargs="?", help="STEP or JOB/STEP (default: all)")
    parser.add_argument("-f", "--file", type=Path, default=Path(DEFAULT), help=f"pipeline file (default: {DEFAULT})")
    parser.add_argument("--image", help="use this image for all jobs")
    add_platform(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what each step would do now, and why."""
    from ci_env.cli.compiled import Request, compile_request
    from ci_env.cli.interrupt import interruptible
    from ci_env.cli.opened import opened
    from ci_env.store.steps import Steps
    from ci_env.ui.view import choose

    request = Request(
        arguments.file, (), arguments.image, is_offline=False, is_renewed=False, platform=arguments.platform
    )
    view = choose("plain", stdout=sys.stdout, stderr=sys.stderr, env=os.environ)
    with interruptible() as interruption, opened() as everything, view as emit:
        compiled = compile_request(request, everything, emit, interruption)
        asking = _Asking(compiled, everything, Steps(everything.store))
        chosen = list(_choose(compiled, arguments.step))
        sys.stdout.writelines(f"{line}\n" for job, step in chosen for line in asking.explain(job, step))
    return 0


def _choose(compiled: Compiled, name: str | None) -> Iterator[tuple[Job, Step]]:
    steps = [(job, step) for job in compiled.plan.jobs for step in job.steps]
    found = [(job, step) for job, step in steps if name in (None, step.name, f"{job.name}/{step.name}")]
    if not found:
        from ci_env.pipeline.suggest import did_you_mean

        names = [f"{job.name}/{step.name}" for job, step in steps]
        known = [*names, *(step.name for _, step in steps)]
        suggestion = did_you_mean(name or "", known)
        raise ConfigError(f"the pipeline has no step {name!r}{suggestion}", hint=f"its steps: {', '.join(names)}")
    yield from found


@dataclass(frozen=True, slots=True)
class _Asking:
    compiled: Compiled
    opened: Opened
    steps: Steps

    def explain(self, job: Job, step: Step) -> Iterator[str]:
        """Yield a line for the step, and one for each reason."""
        from ci_env.digest import canonical_json
        from ci_env.plan.keys import preimage_in
        from ci_env.store.steps import step_place

        name = f"{job.name}/{step.name}"
        place = step_place(self.compiled.project, job=job.name, step=step.name)
        last = self.steps.last(place)
        if step.when == "on_failure":
            yield f"{name}: never cached, since it runs only after a failure"
        elif last is not None and last.key == step.key:
            yield from self._known(name, last, self.steps.previous(place), step)
        elif self.steps.load(step.key) is not None:
            yield f"{name}: cached, by an earlier result"
        elif last is None:
            yield f"{name}: will run, as it has never passed here"
        else:
            now = canonical_json(preimage_in(self.compiled.plan, job, step)).decode()
            yield f"{name}: will run, because since it last passed"
            yield from self._reasons(last.preimage, now, step)

    def _known(self, name: str, last: StepResult, previous: StepResult | None, step: Step) -> Iterator[str]:
        if not self.opened.layers.has(last.layer):
            yield f"{name}: will run, as the layer that it left has been removed"
            return
        yield f"{name}: cached"
        if previous is not None:
            yield "  it last ran because"
            yield from self._reasons(previous.preimage, last.preimage, step)

    def _reasons(self, old: str, new: str, step: Step) -> Iterator[str]:
        from ci_env.plan.explain import differences

        for difference in differences(old, new):
            yield f"  - {difference.words}"
            if difference.field == "source":
                yield from self._files(old, new, step)

    def _files(self, old: str, new: str, step: Step) -> Iterator[str]:
        from ci_env.plan.explain import changed_files
        from ci_env.ui.clean import clean

        before, after = self._listing(old, step), self._listing(new, step)
        if before is None or after is None:
            return
        changes = changed_files(before, after)
        yield from (f"      {change.how:8} {clean(change.path)}" for change in changes[:_MAX_FILES])
        if len(changes) > _MAX_FILES:
            yield f"      and {len(changes) - _MAX_FILES} more"

    def _listing(self, preimage: str, step: Step) -> tuple[Entry, ...] | None:
        """Return the files of the source layer in a preimage: of the present source, or as an earlier run kept them."""
        import json

        from ci_env.digest import Digest
        from ci_env.resolve.source import read_listing

        layer = json.loads(preimage)["source"]
        if layer is None:
            return ()
        if step.source is not None and step.source.layer == layer:
            return self.compiled.sources.listing(step.source)
        return read_listing(self.opened.layers, Digest.parse(layer))

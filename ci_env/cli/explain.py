"""`ci-env explain`: why does a step run again? Looks at everything a run would look at, and runs no step of it.

An image that is to be built is built, as by a run: what the steps do depends on what comes of it.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.cli.pipeline_file import DEFAULT
from ci_env.cli.platform import add_argument as add_platform
from ci_env.errors import ConfigError

if TYPE_CHECKING:
    from ci_env.cli.asking import Asking
    from ci_env.cli.compiled import Compiled
    from ci_env.digest import Digest
    from ci_env.plan.explain import FileChange
    from ci_env.plan.plan import Step
    from ci_env.resolve.dockerfile import Build
    from ci_env.store.layers import Layers
    from ci_env.store.steps import Steps
    from ci_env.tree import Entry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("step", metavar="STEP", nargs="?", help="STEP or JOB/STEP (default: all)")
    parser.add_argument("-f", "--file", type=Path, default=Path(DEFAULT), help=f"pipeline file (default: {DEFAULT})")
    parser.add_argument("--image", help="use this image for all jobs")
    add_platform(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what each step would do now, and why; first the steps that build an image, and before they do."""
    from ci_env.cli.asking import in_build
    from ci_env.cli.compiled import Request, compile_request
    from ci_env.cli.interrupt import interruptible
    from ci_env.cli.opened import opened
    from ci_env.store.steps import Steps
    from ci_env.ui.view import choose

    request = Request(
        arguments.file, (), arguments.image, is_offline=False, is_renewed=False, platform=arguments.platform
    )
    view = choose("plain", stdout=sys.stdout, stderr=sys.stderr, env=os.environ)
    telling = _Telling(arguments.step)
    with interruptible() as interruption, opened() as everything, view as emit:
        results = Steps(everything.store)

        def tell_build(image: str, build: Build) -> None:
            telling.tell(in_build(build, everything.layers, results), image=image)

        compiled = compile_request(request, everything, emit, interruption, before_build=tell_build)
        telling.tell(_in_pipeline(compiled, everything.layers, results))
        telling.check()
    return 0


class _Telling:
    """Prints what steps do, all or those of one name."""

    def __init__(self, name: str | None) -> None:
        self._name = name
        self._names: list[str] = []
        self._is_found = name is None

    def tell(self, asking: Asking, *, image: str | None = None) -> None:
        """Print it for those of a plan; `image` is what that one builds."""
        from ci_env.ui.clean import clean

        prefix = "" if image is None else f"{clean(image)} "
        for job, step in asking.steps():
            name = f"{job.name}/{step.name}"
            self._names.append(name)
            if self._name in (None, step.name, name, prefix + name):
                self._is_found = True
                first, *rest = asking.explain(job, step)
                sys.stdout.writelines(f"{line}\n" for line in (prefix + first, *rest))
        sys.stdout.flush()

    def check(self) -> None:
        """Raise ConfigError if no step has the name."""
        if not self._is_found:
            from ci_env.pipeline.suggest import did_you_mean

            known = [*self._names, *(name.partition("/")[2] for name in self._names)]
            suggestion = did_you_mean(self._name or "", known)
            message = f"the pipeline has no step {self._name!r}{suggestion}"
            raise ConfigError(message, hint=f"its steps: {', '.join(self._names)}")


def _in_pipeline(compiled: Compiled, layers: Layers, results: Steps) -> Asking:
    """Return what asks about a pipeline; files are those of the present source, or as an earlier run kept them."""
    from ci_env.cli.asking import Asking
    from ci_env.plan.explain import changed_files
    from ci_env.resolve.source import read_listing

    def listing(layer: Digest | None, step: Step) -> tuple[Entry, ...] | None:
        if layer is None:
            return ()
        if step.source is not None and step.source.layer == layer:
            return compiled.sources.listing(step.source)
        return read_listing(layers, layer)

    def changes(old: Digest | None, new: Digest | None, step: Step) -> tuple[FileChange, ...] | None:
        before, after = listing(old, step), listing(new, step)
        return None if before is None or after is None else changed_files(before, after)

    return Asking(compiled.plan, compiled.project, layers, results, changes)

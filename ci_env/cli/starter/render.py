"""Jobs to the text of a new pipeline file, for people to read and go on from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from ci_env.cli.starter.recipe import Job, Step
from ci_env.pipeline.scalars import resolve

_HEAD = """\
# What `ci-env run` does with this project.
#
# Each job begins with its image; its steps run in order, as root, in /workspace, where the project's files are.
# A step is skipped, with its result, until its command, its inputs or something before it changes.
# Steps have no network unless they ask for it, as the ones that download do.
#
#     ci-env run              # all jobs, those that do not need each other at the same time
#     ci-env replay           # the last run's failure again, in the same surroundings
#     ci-env schema           # all keys, for editors and for people
version: 1

jobs:
"""
_EXAMPLE = Job(
    "hello",
    "host",
    (
        Step("look", "uname -sr\nls -l", "`host` is this machine's own system, read-only beneath an overlay."),
        Step("work", "echo 'put a command of yours here'"),
    ),
)
_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./+-]*(:[A-Za-z0-9_.-]+)?\Z")
_PLAIN_LINE = re.compile(r"[A-Za-z][^#:]*\Z")
_SPECIAL = re.compile(r"([\\*?\[]|\A!)")


def render(jobs: Sequence[Job], directory: str = "") -> str:
    """Return the file for `jobs`, or an example where there are none; `directory` is the project's, in the source."""
    return _HEAD + "\n".join("".join(_job(job, directory)) for job in jobs or (_EXAMPLE,))


def _job(job: Job, directory: str) -> Iterator[str]:
    yield f"  {job.name}:\n    image: {_scalar(job.image)}\n    steps:\n"
    yield "\n".join("".join(_step(step, directory)) for step in job.steps)


def _step(step: Step, directory: str) -> Iterator[str]:
    yield from (f"      # {line}\n" for line in step.comment.splitlines())
    yield f"      - name: {_scalar(step.name)}\n"
    yield f"        run: {_script(step.run)}\n"
    if directory:
        yield f"        workdir: {_scalar(directory)}\n"
    if step.inputs is not None:
        prefix = _SPECIAL.sub(r"\\\1", f"{directory}/") if directory else ""
        yield f"        inputs: {_list([prefix + path for path in step.inputs])}\n"
    if step.downloads:
        yield "        network: host # all that this machine can reach; `nat` is not supported yet\n"
    if step.caches:
        yield f"        caches: {_list(step.caches)} # kept between runs, never part of a result\n"
    if step.junit:
        prefix = f"{directory}/" if directory else ""
        yield f"        reports: {{junit: {_list([prefix + path for path in step.junit])}}}\n"


def _script(run: str) -> str:
    lines = run.splitlines()
    if len(lines) == 1 and _PLAIN_LINE.match(run) and resolve(run) == run:
        return run
    return "|\n" + "\n".join(f"          {line}" for line in lines)


def _list(items: Sequence[str]) -> str:
    return f"[{', '.join(map(_scalar, items))}]"


def _scalar(text: str) -> str:
    """Return `text` as YAML reads it back; JSON's strings are YAML's (YAML 1.2, 1.3)."""
    return text if _PLAIN.match(text) and resolve(text) == text else json.dumps(text, ensure_ascii=False)

"""A twin's capsule: the state without the cause, beside the ending that the cause had.

A replay compares what it sees with what is recorded. So a twin is a real run of the changed project, whose record
is given, in the store, the ending, the log and the reports of the failure; `ci-env capsule pack` makes a capsule of
it, and `ci-env replay` finds out, by the same path as ever, that this state does not lead to that failure. It must say
so: were it to say `same`, either the case's cause is none, or the verdict is blind.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

_OF_THE_ENDING = ("status", "ended", "exit_code", "signal", "tree", "output", "artifacts")


class Part(TypedDict):
    """A job or step of a record, as far as this needs to know it."""

    name: str
    status: str
    steps: list[dict[str, object]]


def give_ending(of: Path, to: Path, *, failed: str, step: str) -> None:
    """Write the ending of the step `failed` in one record over that of the step `step` in another: JOB/STEP."""
    source, target = json.loads(of.read_text()), json.loads(to.read_text())
    _, old = _find(source["jobs"], failed)
    for job in target["jobs"]:  # one that fails by itself is not the one to replay
        for other in job["steps"]:
            other["status"] = "passed" if other["status"] == "failed" else other["status"]
    job, new = _find(target["jobs"], step)
    assert new["after"] is not None, f"{step} did not run: {new['status']}"
    new |= {name: old[name] for name in _OF_THE_ENDING}
    job["status"] = target["status"] = "failed"
    to.write_text(json.dumps(target))


def _find(jobs: list[Part], name: str) -> tuple[Part, dict[str, object]]:
    ((job, step),) = [(job, step) for job in jobs for step in job["steps"] if f"{job['name']}/{step['name']}" == name]
    return job, step

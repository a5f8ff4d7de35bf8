"""The plan of a rich pipeline, and the preimages of its keys: a form that may not change unnoticed.

A changed key makes every result in every store a miss. After a change on purpose: raise `keys.KEY_VERSION` (or, if only
the plan's form changed, `plan.PLAN_VERSION`), write the files again with

    CI_ENV_UPDATE_GOLDEN=1 .venv/bin/python -m pytest tests/golden/test_plan.py

read the difference, and tell users in CHANGELOG.md.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from ci_env import codec
from ci_env.digest import Digest, Json
from ci_env.pipeline.model import Pipeline
from ci_env.plan import keys
from ci_env.plan.compile import compile_plan
from ci_env.plan.plan import Plan
from tests.plan_material import DEBIAN, compiled, inputs, job, step

HERE = Path(__file__).parent
UPDATE = os.environ.get("CI_ENV_UPDATE_GOLDEN") == "1"
JOBS = (
    job(
        "build",
        step("deps", run="pip install -r reqs.txt", inputs=("reqs.txt",), network="host", caches=("/c",)),
        step("compile", run="make\n", shell=("bash", "-eu"), env={"CC": "gcc", "NAME": "Zoë"}, artifacts=("dist/",)),
        step("look", run="ls -R", when="on_failure", inputs=("tools/",), artifacts=("core",)),
        step("tidy", run="make clean", when="always", workdir="src"),
        image="python:3.12",
    ),
    replace(
        job(
            "test (x=1)",
            step("test", run="pytest", user="1000:1000", timeout_s=60, junit=("report.xml",), workdir="/opt"),
            needs=("build",),
        ),
        timeout_s=600,
    ),
    job("docs", step("docs", run="make docs", inputs=("docs/", "!docs/old/")), image="host"),
)
PYTHON = replace(
    DEBIAN,
    image=replace(DEBIAN.image, reference="python:3.12", layers=(Digest.of(b"python"),)),
    env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C"},
    user="ci",
    workdir="/srv",
)


def plan() -> Plan:
    return compile_plan(Pipeline(JOBS), inputs(JOBS, **{"python:3.12": PYTHON}), ())


def preimages() -> Json:
    made = plan()
    return {
        job.name: {
            step.name: {"key": step.key, "preimage": dict(keys.preimage_in(made, job, step))} for step in job.steps
        }
        for job in made.jobs
    }


@pytest.mark.parametrize(("file", "value"), [("plan.json", codec.encode(plan())), ("keys.json", preimages())])
def test_is_what_it_was(file: str, value: Json) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    if UPDATE:
        (HERE / file).write_text(text)
    assert text == (HERE / file).read_text(), f"{file} changed; {Path(__file__).name} says what to do"


def test_the_written_plan_is_read_back() -> None:
    assert codec.decode(Plan, json.loads((HERE / "plan.json").read_text())) == plan()


def test_every_key_is_that_of_its_preimage() -> None:
    for one in json.loads((HERE / "keys.json").read_text()).values():
        for entry in one.values():
            assert keys.step_key(entry["preimage"]) == entry["key"]


def test_a_store_of_this_key_version_is_still_hit() -> None:
    """The one key that is written here, in the test: nobody can update it without reading this."""
    assert compiled(job("test")).jobs[0].steps[0].key == (
        "sha256:562ffc67f09678fa3b0225e1d0d14a04b511c7ea4f89ef12e8eb0f9ab500df71"
    )

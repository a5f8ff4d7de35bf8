"""Builds of images that fail, by every account: in the Dockerfile, in a step, on the command line."""

from __future__ import annotations

import pytest

from tests.dockerfile_project import (
    built,
    prepared,
    refused,
)
from tests.installed import CiEnv
from tests.project import Project, leftovers


@pytest.fixture
def made(actor: CiEnv) -> Project:
    return prepared(actor)


def test_a_failing_run_is_replayed(made: Project) -> None:
    made.put("Dockerfile", "FROM team/base:1\nCOPY src /src\nRUN cat /src/main; echo broken; exit 3\n")
    failed = built(made, code=1)
    assert list(failed.steps.values()) == ["passed", "failed"]
    (failure,) = failed.of("StepFailure")
    assert failure["tail"] == ["the program", "broken"]
    verdict = made.replay()
    assert verdict["verdict"] == "same"
    assert made.call("runs", "show").code == 0


def test_a_failing_copy_is_replayed(made: Project) -> None:
    made.put(
        "Dockerfile",
        "FROM team/base:1 AS one\nRUN echo 1 >/file\nFROM team/base:1\nCOPY --from=one /absent /x\n",
    )
    failed = built(made, code=1)
    (failure,) = failed.of("StepFailure")
    assert failure["tail"] == ["there is no 'absent' to copy"]
    assert failure["ending"] == "exit status 1"
    assert made.replay()["verdict"] == "same"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("FROM team/base:1\nCOPY absent /x\n", "Dockerfile:2: there is no 'absent' in"),
        ("FROM team/base:1\nRNU true\n", "Dockerfile:2"),
        ("FROM absent/image:1\n", "Dockerfile:1"),
        ("FROM host\n", "Dockerfile:1: this machine is no image"),
        ("FROM --platform=linux/s390x team/base:1\n", "Dockerfile:1: the stage is for linux/s390x"),
        ("", "Dockerfile"),
    ],
)
def test_mistakes(made: Project, text: str, complaint: str) -> None:
    made.put("Dockerfile", text)
    assert complaint in refused(made).err
    assert leftovers(made.ci_env) == []


def test_more_mistakes(made: Project) -> None:
    assert "no stage 'absent'" in refused(made, "--target", "absent").err
    assert "cannot read nowhere/Dockerfile" in refused(made, "nowhere").err
    assert "no name for an image" in refused(made, "-t", "UPPER CASE").err
    assert "expected NAME=VALUE" in refused(made, "--build-arg", "=x").err
    assert "'x' is not UTF-8" in refused(made, "--build-arg", "x=\udcff").err

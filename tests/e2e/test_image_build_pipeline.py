"""`image: dockerfile:FILE` in a pipeline, and `explain` of builds, by every account."""

from __future__ import annotations

import pytest

from tests.dockerfile_project import (
    LOOK,
    built,
    ok,
    prepared,
)
from tests.installed import CiEnv
from tests.project import Project


@pytest.fixture
def made(actor: CiEnv) -> Project:
    return prepared(actor)


def test_an_image_of_a_pipeline(made: Project) -> None:
    made.pipeline(LOOK, image="dockerfile:Dockerfile")
    called = made.call("run", "--offline", "--format", "plain")
    assert called.code == 0, called.err
    assert "hello nobody" in called.err
    assert made.call("validate").code == 0
    again = made.call("run", "--offline", "--format", "plain")
    assert again.code == 0
    assert "dockerfile" not in made.call("lock").out
    locked = made.call("run", "--offline", "--locked")
    assert (locked.code, "no lockfile holds" in locked.err) == (2, True)


def test_an_image_of_a_pipeline_that_cannot_be_built(made: Project) -> None:
    made.put("Dockerfile", "FROM team/base:1\nRUN exit 9\n")
    made.pipeline('look: {steps: [{name: look, run: "true"}]}\n', image="dockerfile:Dockerfile")
    called = made.call("run", "--offline")
    assert called.code == 1
    assert "the image 'dockerfile:Dockerfile' could not be built" in called.err


def test_why_a_build_runs_a_step_again(made: Project) -> None:
    asked = ("build", "--offline", "--explain")
    assert "stage-0/COPY --chown=web src/ ./: will run, as it has never passed here\n" in ok(made, *asked)
    built(made)
    assert {line.rpartition(": ")[2] for line in ok(made, *asked).splitlines()} == {"cached"}

    made.put("src/main", "changed\n")
    (made.root / "src/sub/deep").chmod(0o700)
    (made.root / "other").rename(made.root / "src/new")
    changes = ["  changed  src/main", "  added    src/new", "  mode     src/sub/deep"]
    before = ok(made, *asked)
    assert (
        "COPY --chown=web src/ ./: will run, because since it last passed\n  - what is copied from changed\n" in before
    )
    assert [line.strip() for line in before.splitlines() if line.startswith("      ")] == [
        line.strip() for line in changes
    ]
    assert "it last passed\n  - a step before changed\n" in before
    assert list(built(made).steps.values()) == ["cached", "passed", "passed"]
    after = ok(made, *asked)
    assert "COPY --chown=web src/ ./: cached\n  it last ran because\n  - what is copied from changed\n" in after
    assert changes[0] in after

    told = ok(made, *asked, "--build-arg", "WHO=you")
    assert "- the environment variable WHO changed from 'nobody' to 'you'" in told
    assert built(made).of("RunFinished")[0]["status"] == "cached"


def test_why_the_image_of_a_pipeline_was_built_again(made: Project) -> None:
    made.pipeline(LOOK, image="dockerfile:Dockerfile")
    copy = "dockerfile:Dockerfile stage-0/COPY --chown=web src/ ./"
    assert f"{copy}: will run, as it has never passed here\n" in made.call("explain").out
    made.run("--offline")
    said = made.call("explain").out
    assert f"{copy}: cached\n" in said
    assert said.splitlines()[-1] == "look/look: cached"

    made.put("src/main", "changed\n")
    said = made.call("explain").out
    assert f"{copy}: will run, because since it last passed\n" in said
    assert "      changed  src/main\n" in said
    assert "look/look: will run, because since it last passed\n" in said
    assert "  - the image changed\n" in said
    one = made.call("explain", "COPY --chown=web src/ ./").out  # built by the explanation before
    assert f"{copy}: cached\n  it last ran because\n" in one
    assert "look/look" not in one

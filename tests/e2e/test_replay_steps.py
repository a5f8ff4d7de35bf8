"""`ci-env replay` of several steps, each on what the one before leaves now; and with sources that somebody edited."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.account import Who
from tests.installed import CiEnv
from tests.project import Project, leftovers, project

STEPS = """
build:
  steps:
    - {name: one, caches: [/kept], run: "echo one | tee made; ls /kept; echo mine >/kept/mine"}
    - {name: two, run: "cat made; echo two >>made; mkdir out; cp src/good.txt out/"}
    - {name: three, caches: [/kept], run: "cat made src/good.txt; ls /kept; cat src/answer; grep -q 42 src/answer"}
    - {name: last, when: always, run: "cat made; echo the end"}
    - {name: never, run: "true"}
other: {steps: [{name: one, run: "true"}]}
"""
FILES = {"src/answer": "41\n", "src/good.txt": "good\n", "src/gone": "gone\n"}


def steps(ci_env: CiEnv) -> Project:
    return project(ci_env, STEPS, files=FILES)


def test_from_a_step_to_the_failing_one(actor: CiEnv) -> None:
    made = steps(actor)
    run = made.run(code=1)
    called = made.call("replay", "--from", "two")
    assert called.code == 0, called.err
    assert called.out.startswith("same failure: exit status 1 and the same output both times\n")
    assert f"replaying build/two to build/three of run {run.id}\n" in called.err
    assert "  build/two\n  | one\n  build/three\n  | one\n  | two\n  | good\n" in called.err
    whole = made.replay("--all")
    assert (whole["verdict"], whole["steps"]) == ("same", ["one", "two", "three"])
    end = made.replay("--until", "last")
    assert (end["verdict"], end["success"], end["steps"]) == ("same", True, ["one", "two", "three", "last"])
    some = made.replay("--from", "three", "--until", "last", "--times", "2")
    assert (some["verdict"], some["steps"], some["times"]) == ("same", ["three", "last"], 2)
    assert leftovers(actor) == []
    assert not [path for path in (actor.store / "layers").iterdir() if not (path / "layer.json").exists()]


def test_nothing_of_it_stays(ci_env: Callable[[Who], CiEnv]) -> None:
    made = steps(ci_env("user"))
    made.run(code=1)
    layers = sorted((made.ci_env.store / "layers").iterdir())
    assert made.replay("--all")["verdict"] == "same"
    assert made.replay("--edit", "fix")["verdict"] == "same"
    made.put("fix/src/answer", "42\n")
    assert made.replay("--edit", "fix", code=7)["verdict"] == "passes"
    assert sorted((made.ci_env.store / "layers").iterdir()) == layers


def test_an_earlier_step_that_fails_now(ci_env: Callable[[Who], CiEnv]) -> None:
    once = """
    build:
      steps:
        - {name: one, caches: [/kept], run: "test ! -e /kept/been; touch /kept/been"}
        - {name: two, run: "exit 3"}
    """
    made = project(ci_env("user"), once)
    made.run(code=1)
    verdict = made.replay("--all", code=6)
    assert (verdict["verdict"], verdict["reason"]) == ("different", "earlier-step")
    assert verdict["reasons"] == ["build/one, which had passed then, ended with exit status 1 here"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--from", "never"), "was skipped: there is nothing to replay"),
        (("--from", "last"), "the step 'build/last' comes after 'build/three', to which the replay is to go"),
        (("--from", "other/one"), "the step 'other/one' is of another job than 'build/three'"),
        (("--until", "never"), "was skipped: there is nothing to replay"),
        (("--all", "--step", "two"), "--all does not go with --step: no other step runs then"),
        (("--all", "--from", "two"), "--from does not go with --all: both say where to begin"),
        (("--all", "--until", "build/two"), "--until does not go with --all"),
        (("--all", "--shell"), "--all does not go with --shell"),
        (("--shell", "--after", "--edit", "fix"), "--edit does not go with --after"),
    ],
)
def test_what_cannot_be(options: tuple[str, ...], message: str, ci_env: Callable[[Who], CiEnv]) -> None:
    made = steps(ci_env("user"))
    made.run(code=1)
    called = made.call("replay", *options)
    assert called.code == 2
    assert message in called.err


def test_edit_and_run_again(actor: CiEnv) -> None:
    made = steps(actor)
    made.run(code=1)
    shutil.rmtree(made.root / "src")
    called = made.call("replay", "--edit", "fix/it")
    assert called.code == 0, called.err
    assert "fix/it holds the recorded sources now; edit them, and run the same command again\n" in called.err
    place = made.root / "fix/it"
    assert {str(path.relative_to(place)) for path in place.rglob("*")} == {"ci-env.yml", "src", *FILES}
    assert (place / "src/answer").stat().st_uid == actor.account.uid

    assert "fix/it: no file differs\n" in made.call("replay", "--edit", "fix/it").err
    made.put("fix/it/src/answer", "43\n")
    called = made.call("replay", "--edit", "fix/it")
    assert (called.code, called.out.splitlines()[0]) == (6, "fails differently: the output differs from line 5 on")
    made.put("fix/it/src/answer", "42\n")
    made.put("fix/it/src/new/file", "new\n")
    (place / "src/gone").unlink()
    called = made.call("replay", "--edit", "fix/it")
    assert (called.code, called.out) == (7, "passes here: exit status 1 then, exit status 0 here\n")
    assert "fix/it: 1 file changed, 1 added, 1 removed\n" in called.err
    shell = made.call("replay", "--edit", "fix/it", "--shell", stdin="cat src/* src/new/file made; ls src\n")
    assert "42" in shell.out
    assert "new" in shell.out
    assert "two" in shell.out
    assert "gone" not in shell.out.partition("ls src")[2].partition("ls src")[2]
    assert leftovers(actor) == []


def test_edited_sources_from_an_earlier_step_on(ci_env: Callable[[Who], CiEnv]) -> None:
    copies = """
    build:
      steps:
        - {name: copy, inputs: [src/], run: "cp src/answer copied; rm src/gone; chown -R 7:7 .; ls src"}
        - name: test
          inputs: [src/]
          user: "7:7"
          run: echo writable >src/mine; ls src; cat copied; grep -q 42 copied
    """
    made = project(ci_env("user"), copies, files=FILES)
    made.run(code=1)
    assert made.replay("--edit", "fix")["verdict"] == "same"
    made.put("fix/src/answer", "42\n")
    verdict = made.replay("--edit", "fix")
    assert verdict["verdict"] == "same"  # it was copied before
    assert made.replay("--edit", "fix", "--all", code=7)["verdict"] == "passes"


def test_edited_files_are_newer(ci_env: Callable[[Who], CiEnv]) -> None:
    """Or `make` would not make anew what was made of them."""
    made = project(
        ci_env("user"), "build: {steps: [{run: 'cp src/answer out'}, {run: 'test src/answer -nt out'}]}", files=FILES
    )
    made.run(code=1)
    assert made.replay("--edit", "fix")["verdict"] == "same"
    made.put("fix/src/answer", "42\n")
    assert made.replay("--edit", "fix", code=7)["verdict"] == "passes"


def test_a_directory_of_something_else(ci_env: Callable[[Who], CiEnv]) -> None:
    made = steps(ci_env("user"))
    made.run(code=1)
    made.put("else/file", "x\n")
    called = made.call("replay", "--edit", "else")
    assert called.code == 2
    assert "holds something else: none of its files has the name of a recorded source" in called.err
    assert os.listdir(made.root / "else") == ["file"]
    called = made.call("replay", "--edit", "else/file")
    assert (called.code, "wants a directory" in called.err) == (2, True)


def test_edit_the_sources_of_a_capsule(ci_env: Callable[[Who], CiEnv], tmp_path: Path) -> None:
    made = project(ci_env("user"), STEPS.replace("ls /kept; cat", "cat"), files=FILES)
    made.run("--capsule", "out.cienv", code=1)
    other = ci_env("root")
    shutil.move(made.root / "out.cienv", other.home / "out.cienv")
    elsewhere = Project(other, other.home)
    assert elsewhere.call("replay", "out.cienv", "--edit", "fix").code == 0
    elsewhere.put("fix/src/answer", "42\n")
    assert elsewhere.call("replay", "out.cienv", "--edit", "fix").code == 7
    assert elsewhere.call("replay", "out.cienv", "--all", "--edit", "fix").code == 7

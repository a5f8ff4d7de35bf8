"""What a second run finds, what makes it run a step again, and that `ci-env explain` says so."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

from tests.account import Who
from tests.installed import CiEnv
from tests.project import leftovers, project

CHAIN = """
only:
  steps:
    - {name: deps, inputs: [deps.txt], run: "cat deps.txt >deps.out"}
    - {name: build, inputs: [src/], run: "cat deps.out src/* >built"}
    - {name: test, inputs: [tests/], run: "cat built tests/*"}
"""
FILES = {
    "deps.txt": "a dependency\n",
    "src/main.c": "int x;\n",
    "tests/run": "tested\n",
    "README": "nothing chooses me\n",
}
ALL = {"deps": "cached", "build": "cached", "test": "cached"}


def test_only_what_depends_on_a_change_runs_again(actor: CiEnv) -> None:
    made = project(actor, CHAIN, files=FILES)
    assert set(made.run().steps.values()) == {"passed"}
    again = made.run()
    assert (again.steps, again.of("StepOutput")) == (ALL, [])

    made.put("src/main.c", "int y;\n")
    before = made.call("explain").out
    assert before.splitlines()[0] == "only/deps: cached"
    assert (
        "only/build: will run, because since it last passed\n  - the inputs changed\n      changed  src/main.c\n"
        in before
    )
    assert "only/test: will run, because since it last passed\n  - a step before changed\n" in before
    changed = made.run()
    assert changed.steps == {"deps": "cached", "build": "passed", "test": "passed"}
    assert changed.lines("test") == ["a dependency", "int y;", "tested"]
    after = made.call("explain", "build").out
    assert after == "only/build: cached\n  it last ran because\n  - the inputs changed\n      changed  src/main.c\n"

    made.commit()  # of what was uncommitted until now: nothing that a step sees has changed
    assert made.run().steps == ALL
    made.put("README", "changed\n")
    made.commit()
    assert made.run().steps == ALL
    made.put("src/main.c", "int x;\n")
    made.put("tests/more", "more\n")
    assert made.run().steps == {"deps": "cached", "build": "cached", "test": "passed"}


def test_explain_names_the_field(actor: CiEnv) -> None:
    step = "only: {{steps: [{{name: step, run: 'echo {word}', env: {{LEVEL: '{level}'}}}}]}}"
    made = project(actor, step.format(word="one", level=1))
    assert made.call("explain").out == "only/step: will run, as it has never passed here\n"
    made.run()
    made.pipeline(step.format(word="one", level=2))
    said = made.call("explain", "only/step").out
    assert "  - the inputs changed\n      changed  ci-env.yml\n" in said
    assert "  - the environment variable LEVEL changed from '1' to '2'\n" in said
    made.pipeline(step.format(word="two", level=1))
    assert "  - the command changed from 'echo one' to 'echo two'\n" in made.call("explain").out
    called = made.call("explain", "stpe")
    assert called.code == 2
    assert "error: the pipeline has no step 'stpe'; did you mean `step`?" in called.err


def test_no_cache_runs_all_and_is_found_afterwards(actor: CiEnv) -> None:
    made = project(actor, "only: {steps: [{name: random, run: 'head -c 9 /dev/urandom | od >r; cat r'}, {run: cat r}]}")
    first = made.run()
    second = made.run("--no-cache")
    assert set(second.steps.values()) == {"passed"}
    assert second.lines("random") != first.lines("random")
    assert second.lines("step 2") == second.lines("random")
    assert set(made.run().steps.values()) == {"cached"}


def test_failures_are_never_found(actor: CiEnv) -> None:
    made = project(
        actor,
        """
        only:
          steps:
            - {name: good, run: "true"}
            - {name: bad, run: "exit 1"}
            - {name: last, when: always, run: "true"}
        """,
    )
    for expected in ("passed", "cached"):
        run = made.run(code=1)
        assert run.steps == {"good": expected, "bad": "failed", "last": "passed"}
    made.put("new", "x")
    assert made.run(code=1).steps["good"] == "passed"


def test_runs_at_the_same_time(actor: CiEnv) -> None:
    made = project(actor, CHAIN, files=FILES)
    runs = [actor.start("run", "--format", "plain", cwd=made.root) for _ in range(3)]
    for run in runs:
        _, said = run.communicate(timeout=120)
        assert run.returncode == 0, said
    assert made.run().steps == ALL
    assert len(made.call("runs", "ls").out.splitlines()) == 4
    assert leftovers(actor) == []


def test_jobs_that_begin_alike(actor: CiEnv) -> None:
    made = project(
        actor,
        """
        only:
          matrix: {leg: [a, b, c]}
          steps:
            - {name: common, run: "sleep 0.1; date +%N >time"}
            - {name: own, run: "echo ${{ matrix.leg }}; cat time"}
        """,
    )
    made.run("-j", "3")
    assert set(made.run("-j", "3").steps.values()) == {"cached"}


def test_after_it_was_killed(actor: CiEnv) -> None:
    made = project(
        actor,
        """
        only:
          steps:
            - {name: first, run: "echo x >x"}
            - {name: second, caches: [/seen], run: "echo y >y; [ -e /seen/it ] || { touch /seen/it; sleep 300; }"}
        """,
    )
    started = actor.start("run", "--format", "plain", cwd=made.root)
    _await(lambda: any((actor.store / "caches").glob("*/it")))
    os.killpg(started.pid, signal.SIGKILL)
    started.communicate(timeout=20)
    _await(lambda: not [left for left in leftovers(actor) if left.startswith("process ")])
    assert list((actor.store / "tmp").iterdir())
    (run_line,) = made.call("runs", "ls").out.splitlines()
    assert "interrupted" in run_line
    assert made.run().steps == {"first": "cached", "second": "passed"}
    assert leftovers(actor) == []


def test_sources_that_no_commit_has(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), "only: {steps: [{name: list, run: 'ls; cat *'}]}")
    made.put("new", "uncommitted\n")
    made.put(".gitignore", "ignored\n")
    made.put("ignored", "never seen\n")
    assert made.run().lines("list")[:2] == ["ci-env.yml", "new"]
    assert "with changes" in made.call("runs", "ls").out
    subprocess.run(["rm", "-rf", str(made.root / ".git"), str(made.root / "ignored")], check=True, timeout=20)
    assert made.run().lines("list")[:2] == ["ci-env.yml", "new"]
    assert made.run().steps == {"list": "cached"}
    assert "no commit" in made.call("runs", "ls").out.splitlines()[0]


def test_jobs_take_what_others_leave(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(
        ci_env("user"),
        """
        build: {steps: [{name: make, inputs: [src], run: "cat src >out", artifacts: [out]}]}
        test: {needs: [build], steps: [{name: use, inputs: [tests], run: "cat out tests"}]}
        """,
        files={"src": "one\n", "tests": "t\n"},
    )
    made.run()
    made.put("src", "two\n")
    changed = made.run()
    assert changed.lines("use") == ["two", "t"]
    assert "the artifacts that the job takes from others changed" in made.call("explain", "use").out


def _await(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.02)

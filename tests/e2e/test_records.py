"""What is kept of a run whatever happens to it, and what a replay may not touch."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.account import Who
from tests.installed import CiEnv
from tests.project import Project, project

TWO_FAIL = """
one: {steps: [{name: test, run: "exit 3"}]}
two: {steps: [{name: test, run: "exit 4"}]}
"""
SLOW_END = """
quick: {steps: [{name: test, run: "echo it broke; exit 3"}]}
slow: {steps: [{name: wait, run: "sleep 100"}]}
"""
CACHED = """
only: {steps: [{name: test, caches: [/cache], run: "cat /cache/seen || :; echo again >>/cache/seen; exit 3"}]}
"""


def test_each_failure_has_its_own_replay(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), TWO_FAIL)
    run = made.run(code=1)
    program = made.ci_env.program  # which is not on the PATH
    lines = [str(event["replay"]) for event in run.of("StepFailure")]
    assert lines == [f"{program} replay {run.id}", f"{program} replay {run.id} --step two/test"]
    assert made.replay(*lines[1].split()[2:])["job"] == "two"


def test_what_failed_before_a_kill_can_be_replayed(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), SLOW_END)
    running = subprocess.Popen(
        made.ci_env.argv("run", "--parallel", "2"),
        cwd=made.root,
        env=made.ci_env.environment(),
        stderr=subprocess.DEVNULL,
    )
    record = _written(made.ci_env.store)
    running.send_signal(signal.SIGKILL)
    running.wait(30)
    assert [job["name"] for job in record["jobs"]] == ["quick"]
    assert "interrupted" in made.call("runs", "ls").out
    assert made.replay()["job"] == "quick"


def _written(store: Path) -> dict[str, list[dict[str, str]]]:
    """Wait until a record tells of a job that has ended."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for file in store.glob("runs/*/record.json"):
            record: dict[str, list[dict[str, str]]] = json.loads(file.read_text())
            if record["jobs"]:
                return record
        time.sleep(0.05)
    raise AssertionError("no record in time")


def test_a_replay_leaves_caches_alone(actor: CiEnv) -> None:
    made = project(actor, CACHED)
    made.run(code=1)
    (cache,) = [path for path in (actor.store / "caches").iterdir() if path.is_dir()]
    before = (cache / "seen").read_text()
    assert before == "again\n"
    assert made.replay(code=6)["verdict"] == "different"  # the cache is not what it was
    assert made.replay(code=6)["verdict"] == "different"
    assert (cache / "seen").read_text() == before


def test_a_cancelled_run_replays_what_ran(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(
        ci_env("user"), 'only: {steps: [{name: good, run: "true"}, {name: alas, when: on_failure, run: "true"}]}'
    )
    made.run()
    assert made.replay()["step"] == "good"


def test_a_store_in_the_source_is_no_part_of_it(ci_env: Callable[[Who], CiEnv]) -> None:
    user = ci_env("user")
    plain = Project(user, user.home)
    plain.pipeline('only: {steps: [{name: look, run: "test ! -e store"}]}')
    assert plain.run().steps == {"look": "passed"}
    assert plain.run().steps == {"look": "cached"}
    user.git(user.home, "init", "--quiet")
    assert plain.run().steps == {"look": "passed"}
    assert plain.run().steps == {"look": "cached"}

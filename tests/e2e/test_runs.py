"""`ci-env runs`: what has been run, and what is left of it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable

from tests.account import Who
from tests.installed import CiEnv
from tests.project import project

PIPELINE = """
a: {steps: [{name: good, run: "echo fine"}, {name: bad, run: "echo why; exit 4"}, {name: never, run: "true"}]}
b: {steps: [{name: good, run: "echo also"}]}
"""


def test_runs(actor: CiEnv) -> None:
    made = project(actor, PIPELINE)
    assert (made.call("runs", "ls").code, made.call("runs", "ls").out) == (0, "")
    first, second = made.run(code=1), made.run(code=1)
    listed = [line.split()[:2] for line in made.call("runs", "ls").out.splitlines()]
    assert sorted(listed) == sorted([[first.id, "failed"], [second.id, "failed"]])
    facts = [json.loads(line) for line in made.call("runs", "ls", "--json").out.splitlines()]
    assert {fact["run"] for fact in facts} == {first.id, second.id}

    shown = made.call("runs", "show", first.id).out
    assert shown.startswith(f"run {first.id}: failed\n")
    assert "  bad    failed" in shown
    assert "exit status 4" in shown
    record = json.loads(made.call("runs", "show", first.id, "--json").out)
    assert [step["status"] for step in record["jobs"][0]["steps"]] == ["passed", "failed", "skipped"]

    assert made.call("runs", "logs", first.id, "--step", "bad").out == "why\n"
    assert made.call("runs", "logs", second.id, "--step", "a/good").out == "fine\n"
    assert made.call("runs", "logs", first.id).out == (
        "=== a/good: passed\nfine\n=== a/bad: failed\nwhy\n=== b/good: passed\nalso\n"
    )
    called = made.call("runs", "logs", "--step", "bda")
    assert called.code == 2
    assert "hint: its steps: a/good, a/bad, a/never, b/good\n" in called.err

    assert made.call("runs", "rm", first.id).out == f"{first.id}: removed\n"
    assert [line.split()[0] for line in made.call("runs", "ls").out.splitlines()] == [second.id]
    assert made.call("replay", first.id).code == 2
    assert made.call("runs", "rm", first.id).code == 2
    assert made.run(code=1).steps["a/good"] == "cached"


def test_a_run_that_goes_on_or_was_interrupted(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), "only: {steps: [{name: step, caches: [/seen], run: 'touch /seen/it; sleep 300'}]}")
    started = made.ci_env.start("run", "--format", "plain", cwd=made.root)
    deadline = time.monotonic() + 30
    while not any((made.ci_env.store / "caches").glob("*/it")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run_id, status = made.call("runs", "ls").out.split()[:2]
    assert status == "running"
    refused = made.call("runs", "rm", run_id)
    assert (refused.code, refused.err) == (2, f"error: run {run_id} goes on\nhint: end it first\n")
    assert made.call("replay").code == 2
    os.killpg(started.pid, signal.SIGKILL)
    started.communicate(timeout=20)
    assert made.call("runs", "ls").out.split()[1] == "interrupted"
    assert made.call("runs", "show").out.startswith(f"run {run_id}: interrupted\n")
    called = made.call("replay")
    assert called.code == 2
    assert "there is nothing to replay" in called.err
    assert made.call("runs", "rm", run_id).code == 0
    assert made.call("runs", "ls").out == ""

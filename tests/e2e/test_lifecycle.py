"""Runs that go on, looked at and changed from another terminal of the same user."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.account import Who
from tests.installed import CiEnv
from tests.processes import running, wait_until
from tests.project import Called, Project, leftovers, project

COUNTING = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.1; done"
TWO_JOBS = f"""
one:
  steps:
    - {{name: quick, run: "echo quick"}}
    - {{name: counts, env: {{MINE: "yes"}}, workdir: sub, run: "{COUNTING}"}}
other: {{steps: [{{name: also, run: "{COUNTING}"}}]}}
"""
ONE_JOB = f"""
only: {{steps: [{{name: counts, run: "{COUNTING}"}}]}}
"""


class Going:
    """A run that goes on."""

    def __init__(self, made: Project, process: subprocess.Popen[str], id_: str, log: Path) -> None:
        self.made = made
        self.process = process
        self.id = id_
        self.log = log

    def call(self, *arguments: str, stdin: str = "") -> Called:
        return self.made.call(*arguments, stdin=stdin)

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]

    def lines(self) -> int:
        return sum(event["event"] == "StepOutput" for event in self.events())

    def notes(self) -> list[str]:
        return [str(event["message"]) for event in self.events() if event["event"] == "Note"]


@contextmanager
def going_on(made: Project, *arguments: str, until: str = "line 1") -> Generator[Going]:
    """Start a run, and give it once a step has written the line `until`."""
    log = made.ci_env.home / f"log-{os.urandom(4).hex()}"
    with open(log, "w") as output:
        process = subprocess.Popen(
            made.ci_env.argv("run", "--format", "json", "-j", "4", *arguments),
            cwd=made.root,
            env=made.ci_env.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        wait_until(lambda: f'"line": "{until}"' in log.read_text() or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()
        wait_until(lambda: log.read_text().count('"StepOutput"') >= 2)
        yield Going(made, process, str(json.loads(log.read_text().splitlines()[0])["run_id"]), log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()


def test_ps(actor: CiEnv) -> None:
    made = project(actor, TWO_JOBS)
    assert made.call("ps") == Called(0, "", "no run goes on\n")
    with going_on(made) as run:
        wait_until(lambda: len(run.call("ps").out.splitlines()) == 3)
        title, first, second = run.call("ps").out.splitlines()
        assert title.split() == ["RUN", "STATE", "JOB", "STEP", "SINCE", "PIPELINE"]
        steps = {tuple(first.split()[2:4]), tuple(second.split()[:2])}
        assert first.startswith(f"{run.id}  running")
        assert steps == {("one", "counts"), ("other", "also")}
        assert first.endswith(f"ci-env.yml in {made.root}")
        (facts,) = [json.loads(line) for line in run.call("ps", "--json").out.splitlines()]
        assert (facts["run"], facts["state"], facts["file"]) == (run.id, "running", "ci-env.yml")
        assert {(step["job"], step["step"]) for step in facts["steps"]} == steps
        assert run.call("stop").out == f"run {run.id}: cancelled\n"
    assert made.call("ps").out == ""


def test_ps_names_the_run_of_a_ci_service(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), ONE_JOB)
    log = made.ci_env.home / "log"
    facts = {"GITLAB_CI": "true", "CI_JOB_URL": "https://gitlab.example/job/7"}
    with open(log, "w") as output:
        process = subprocess.Popen(
            made.ci_env.argv("run", "--format", "plain"),
            cwd=made.root,
            env=made.ci_env.environment(facts),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    wait_until(lambda: "line 1" in log.read_text(), 60)
    assert "https://gitlab.example/job/7" in made.call("ps").out
    assert made.call("stop", "--now").code == 0
    assert process.wait(timeout=30) == 128 + 15


def test_exec(actor: CiEnv) -> None:
    made = project(actor, TWO_JOBS)
    with going_on(made) as run:
        script = 'pwd; echo $MINE $CI; id -u; echo "$$ $PPID"; cat; exit 7'
        done = run.call("exec", run.id, "one", "--", "sh", "-c", script, stdin="typed\n")
        assert (done.code, done.err) == (7, "")
        lines = done.out.splitlines()
        assert lines[:3] == ["/workspace/sub", "yes true", "0"]
        assert lines[4] == "typed"
        done = run.call(
            "exec", "--env", "MORE=1", "--workdir", "/", "last", "other", "--", "sh", "-c", "pwd; echo $MORE"
        )
        assert done.out == "/\n1\n"
        several = run.call("exec", run.id, "--", "true")
        assert several.code == 2
        assert "steps of several jobs run: " in several.err
        none = run.call("exec", run.id, "third", "--", "true")
        assert "no step of its job 'third' runs" in none.err
        assert "ci-env replay --shell" in none.err
        assert run.call("exec", run.id, "one", "--", "no-such-program").code == 127
        assert "options come first" in run.call("exec", run.id, "--user", "0", "--", "true").err
        run.call("stop")
    assert leftovers(actor) == []
    ended = made.call("exec", run.id, "--", "true")
    assert (ended.code, "has ended" in ended.err) == (2, True)
    assert "no run goes on" in made.call("exec", "last", "--", "true").err


def test_exec_ends_with_the_step(actor: CiEnv) -> None:
    made = project(actor, ONE_JOB)
    with going_on(made) as run:
        program = actor.start("exec", "last", "--", "sh", "-c", "echo in; sleep 1000", cwd=made.root)
        assert program.stdout is not None
        assert program.stdout.readline() == "in\n"
        run.call("stop", "--now")
        _, err = program.communicate(timeout=20)
        assert (program.returncode, err) == (137, "the step only/counts has ended, and with it this command\n")


def test_pause_and_resume(actor: CiEnv) -> None:
    made = project(
        actor, f'only: {{limits: {{timeout: 8s}}, steps: [{{name: counts, timeout: 6s, run: "{COUNTING}"}}]}}'
    )
    with going_on(made) as run:
        assert run.call("resume").out == f"run {run.id} is not paused\n"
        assert run.call("pause", run.id).out == f"run {run.id}: paused\n"
        assert run.call("pause", run.id).out == f"run {run.id} is paused already\n"
        time.sleep(0.5)
        before = run.lines()
        time.sleep(9)
        assert run.lines() == before
        assert "paused" in run.call("ps").out
        refused = run.call("exec", run.id, "--", "true")
        assert (refused.code, "is paused" in refused.err) == (2, True)
        assert run.call("resume").out == f"run {run.id}: resumed\n"
        wait_until(lambda: run.lines() > before)
        assert [note.split(";")[0] for note in run.notes()] == ["paused by `ci-env pause`", "resumed"]
        run.process.wait(timeout=30)
        (end,) = [event for event in run.events() if event["event"] == "StepFinished"]
        assert end["ending"] == "timeout after 6 s"
    assert leftovers(actor) == []


def test_stop_is_polite_and_now_is_not(actor: CiEnv) -> None:
    polite = "trap 'echo tidied; exit' TERM; echo line 1; echo; while :; do sleep 0.1; done"
    made = project(actor, f'only: {{steps: [{{name: polite, run: "{polite}"}}]}}')
    with going_on(made) as run:
        assert run.call("stop") == Called(0, f"run {run.id}: cancelled\n", "")
        assert run.process.wait(timeout=20) == 128 + 15
        assert "tidied" in [event.get("line") for event in run.events()]
    stubborn = """
    only: {steps: [{name: stubborn, run: "trap '' TERM; echo line 1; echo; while :; do sleep 0.1; done"}]}
    """
    made.pipeline(stubborn)
    made.commit()
    with going_on(made) as run:
        began = time.monotonic()
        waiting = actor.start("stop", cwd=made.root)
        wait_until(lambda: "stopping" in run.call("ps").out)
        assert run.call("stop", "--now").out == f"run {run.id}: cancelled\n"
        assert time.monotonic() - began < 8
        assert waiting.communicate(timeout=20) == (f"run {run.id}: cancelled\n", "")
    assert leftovers(actor) == []


def test_stop_a_paused_run(actor: CiEnv) -> None:
    made = project(actor, ONE_JOB)
    with going_on(made) as run:
        run.call("pause")
        assert run.call("stop").out == f"run {run.id}: cancelled\n"
        assert run.process.wait(timeout=20) == 128 + 15
    assert leftovers(actor) == []


def test_ctrl_c_ends_a_paused_run(actor: CiEnv) -> None:
    made = project(actor, ONE_JOB)
    with going_on(made) as run:
        run.call("pause")
        os.killpg(run.process.pid, signal.SIGINT)
        assert run.process.wait(timeout=20) == 128 + 2
    assert leftovers(actor) == []


def test_logs_follow(actor: CiEnv) -> None:
    jobs = """
    one:
      steps:
        - {name: first, run: "echo line 1; echo; sleep 2; echo more"}
        - {name: second, run: "for i in 1 2 3; do echo second $i; sleep 0.3; done; printf end"}
    other: {steps: [{name: also, run: "sleep 1; echo also"}]}
    """
    made = project(actor, jobs)
    with going_on(made) as run:
        whole = actor.start("logs", "-f", cwd=made.root)
        one = actor.start("runs", "logs", "--follow", run.id, "one/second", cwd=made.root)
        out, err = whole.communicate(timeout=60)
        assert (whole.returncode, err) == (0, "")
        assert sorted(out.splitlines()) == sorted(
            ["one/first | line 1", "one/first | ", "one/first | more", "other/also | also"]
            + [f"one/second | second {number}" for number in (1, 2, 3)]
            + ["one/second | end"]
        )
        assert one.communicate(timeout=60) == ("second 1\nsecond 2\nsecond 3\nend", "")
        assert run.process.wait(timeout=20) == 0
    ended = made.call("logs", "-f", run.id)
    assert ended == made.call("runs", "logs", run.id)
    assert "=== one/second: passed\n" in ended.out
    assert made.call("logs", run.id, "also").out == "also\n"


def test_the_door_is_for_its_user_and_is_gone_at_the_end(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), ONE_JOB)
    with going_on(made) as run:
        door = made.ci_env.store / "runs" / run.id / "door"
        assert door.is_socket()
        if os.geteuid() == 0:
            status = subprocess.run(
                ("setpriv", "--reuid=65534", "--clear-groups", "ls", str(door)), capture_output=True, check=False
            )
            assert status.returncode != 0
        with socket.socket(socket.AF_UNIX) as idle:  # who says nothing does not hold up others for ever
            idle.connect(str(door))
            assert run.call("stop").code == 0
        assert not door.exists()


def test_what_a_killed_run_has_left(actor: CiEnv) -> None:
    made = project(actor, ONE_JOB)
    with going_on(made) as run:
        door = actor.store / "runs" / run.id / "door"
        run.process.kill()
        run.process.wait()
        wait_until(lambda: not [text for text in leftovers(actor) if text.startswith("process")])
    assert door.is_socket()
    assert made.call("ps") == Called(0, "", "no run goes on\n")
    assert not door.exists()
    assert "interrupted" in made.call("runs", "ls").out
    made.pipeline("only: {steps: [{name: step, run: 'true'}]}")
    made.run()
    assert leftovers(actor) == []


def test_killed_during_a_pause(actor: CiEnv) -> None:
    """With control groups of version 1, what stands still cannot even be killed."""
    nap = f"sleep {random.randrange(10**8, 10**9)}"
    made = project(actor, f'only: {{steps: [{{name: counts, run: "(setsid {nap} &) ; {COUNTING}"}}]}}')
    with going_on(made) as run:
        assert run.call("pause").code == 0
        run.process.kill()
        run.process.wait()
        wait_until(lambda: not [text for text in leftovers(actor) if text.startswith("process")])
        wait_until(lambda: not running(nap))
    made.pipeline("only: {steps: [{name: step, run: 'true'}]}")
    made.run()
    assert leftovers(actor) == []


def test_a_cached_run_has_no_door(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), "only: {steps: [{name: step, run: 'true'}]}")
    made.run()
    done = made.ci_env.run("run", "--format", "json", cwd=made.root, env={"PYTHONVERBOSE": "1"})
    assert '"cached"' in done.stdout
    assert "ci_env.live" not in done.stderr
    assert "import 'ci_env.cli.recorded'" in done.stderr


@pytest.mark.parametrize("verb", ["pause", "resume", "stop"])
def test_no_run_goes_on(ci_env: Callable[[Who], CiEnv], verb: str) -> None:
    made = project(ci_env("user"), ONE_JOB)
    done = made.call(verb)
    assert (done.code, "no run goes on" in done.err) == (2, True)

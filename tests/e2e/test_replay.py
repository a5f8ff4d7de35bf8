"""`ci-env replay`: the same step on the same state, and the verdict; a shell there; what is told where it cannot."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from tests.account import Who
from tests.installed import CiEnv
from tests.project import Project, leftovers, project

FAILING = """
build:
  steps:
    - {name: prepare, run: "echo prepared >state; mkdir -p /opt/made"}
    - {name: test, run: "cat state; echo broken >state; rmdir /opt/made; echo at $(date +%T.%N); exit 3"}
    - {name: never, run: "true"}
other: {steps: [{name: prepare, run: "true"}]}
"""
DEPENDS = """
only:
  steps:
    - name: test
      caches: [/fate]
      run: |
        [ -e /fate/chosen ] || { touch /fate/chosen; echo first; exit 1; }
        cat /fate/then | sh
"""


def test_the_same_failure(actor: CiEnv) -> None:
    made = project(actor, FAILING)
    run = made.run(code=1)
    called = made.call("replay")
    assert called.code == 0
    assert called.out.startswith("same failure: exit status 3 and the same output both times\n")
    assert f"replaying build/test of run {run.id}\n" in called.err
    assert "  | prepared\n" in called.err

    shutil.rmtree(made.root)
    verdict = Project(actor, actor.home).replay(run.id)
    assert (verdict["verdict"], verdict["run"], verdict["step"]) == ("same", run.id, "test")
    assert Project(actor, actor.home).replay(run.id[:-1])["verdict"] == "same"
    assert leftovers(actor) == []


def test_steps_by_name(actor: CiEnv) -> None:
    made = project(actor, FAILING)
    made.run(code=1)
    verdict = made.replay("--step", "build/prepare")
    assert (verdict["verdict"], verdict["success"], verdict["exit_code"]) == ("same", True, 0)
    for name, said in {
        "tset": "has no step 'tset'; did you mean `test`\\?\nhint: its steps: build/prepare, build/test, build/never",
        "prepare": "has 2 steps called 'prepare': 'build/prepare', 'other/prepare'\nhint: name the job, too",
        "never": "the step 'build/never' of run .* was skipped: there is nothing to replay",
    }.items():
        called = made.call("replay", "--step", name)
        assert called.code == 2
        assert re.search(said, called.err), called.err


def test_other_verdicts(actor: CiEnv) -> None:
    made = project(actor, DEPENDS)
    made.run(code=1)
    (fate,) = [path.parent for path in (actor.store / "caches").glob("*/chosen")]
    for script, code, kind in (
        ("echo first; exit 1", 0, "same"),
        ("echo first; exit 2", 6, "different"),
        ("echo second; exit 1", 6, "different"),
        ("kill -9 $$", 6, "different"),
        ("true", 7, "passes"),
    ):
        (fate / "then").write_text(script + "\n")
        assert made.replay(code=code)["verdict"] == kind
    called = made.call("replay")
    assert (called.code, called.out) == (7, "passes here: exit status 1 then, exit status 0 here\n")


REPORTING = """
only:
  steps:
    - name: test
      caches: [/fate]
      reports: {junit: [report.xml]}
      run: |
        [ -e /fate/sum ] || echo 3 >/fate/sum
        date +%s%N | md5sum
        name=$(cat /fate/name 2>/dev/null || echo adds)
        cat >report.xml <<END
        <testsuite name="x"><testcase classname="x" name="$name" time="0.$(date +%N)">
        <failure message="$(cat /fate/message 2>/dev/null || echo 'assert 3 == 4')">x.py:4</failure>
        </testcase></testsuite>
        END
        seq 5
        exit 1
"""


def test_failed_tests_are_compared(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), REPORTING)
    made.run(code=1)
    (fate,) = [path.parent for path in (made.ci_env.store / "caches").glob("*/sum")]
    verdict = made.replay()
    assert (verdict["verdict"], verdict["then"]) == (
        "same",
        {"cause": "exit", "exit_code": 1, "signal": None, "failed_tests": ["x::adds"]},
    )
    (fate / "message").write_text("assert 3 == 5\n")
    verdict = made.replay(code=6)
    assert (verdict["reason"], verdict["reasons"]) == (
        "other-test-message",
        ["the test x::adds failed with other words", "then: assert 3 == 4", "here: assert 3 == 5"],
    )
    (fate / "message").unlink()
    (fate / "name").write_text("sums\n")
    verdict = made.replay(code=6)
    assert verdict["reasons"] == ["other tests failed", "only then: x::adds", "only here: x::sums"]
    assert leftovers(made.ci_env) == []


NOISY = """
only:
  steps:
    - name: test
      caches: [/fate]
      run: |
        echo seed $(od -An -N4 -tu4 /dev/urandom)
        cat /fate/line 2>/dev/null || { touch /fate/chosen; echo step 3; }
        echo it broke
        exit 1
"""


def test_what_changes_from_one_replay_to_the_next_is_not_compared(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), NOISY)
    made.run(code=1)
    called = made.call("replay")
    assert called.code == 0
    assert called.out.splitlines() == [
        "same failure: exit status 1 and the same output both times",
        "  lines that change from one replay to the next were not compared",
    ]
    assert called.err.count("  | seed ") == 2
    assert "once more, to see what of its output changes by itself\n" in called.err
    (fate,) = [path.parent for path in (made.ci_env.store / "caches").glob("*/chosen")]
    (fate / "line").write_text("step 4\n")
    verdict = made.replay(code=6)
    assert (verdict["verdict"], verdict["reason"]) == ("different", "other-output")


def test_flaky(ci_env: Callable[[Who], CiEnv]) -> None:
    flaky = "only: {steps: [{name: test, run: 'echo it; [ $(($(date +%s%N) / 1000 % 2)) = 0 ] || exit 1'}]}"
    made = project(ci_env("user"), flaky)
    while made.call("run", "--no-cache").code == 0:
        pass
    verdict = made.replay("--times", "20")
    assert (verdict["verdict"], verdict["reason"], verdict["times"]) == ("flaky", "some-passed", 20)
    counts, rate, interval = verdict["counts"], verdict["rate"], verdict["interval"]
    assert isinstance(counts, dict)
    assert isinstance(interval, list)
    assert counts["same"] + counts["passes"] == 20
    assert rate == counts["same"] / 20
    assert interval[0] < rate < interval[1]
    called = made.call("replay", "--times", "12")
    assert called.out.startswith("flaky: ")
    assert len(re.findall("^ +[0-9]+ of 12: exit status [01]$", called.err, re.MULTILINE)) == 12
    assert leftovers(made.ci_env) == []


def test_what_fails_each_time_is_not_flaky(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), FAILING)
    made.run(code=1)
    called = made.call("replay", "--times", "3")
    assert (called.code, called.out.splitlines()[:2]) == (
        0,
        [
            "same failure: exit status 3 and the same output both times",
            "  3 of 3 replays failed (43.9% to 100.0% of all would, at 95%)",
        ],
    )
    for wrong in (("--times", "0"), ("--times", "many"), ("--times", "2", "--shell")):
        assert made.call("replay", *wrong).code == 2


def test_the_same_success(actor: CiEnv) -> None:
    made = project(actor, "only: {steps: [{name: good, run: 'echo fine; echo x >x'}]}")
    made.run()
    assert made.call("replay").out == "same success: exit status 0 and the same output both times\n"
    made.run()
    assert made.replay()["reasons"] == ["exit status 0 and the same output both times"]  # of a step that was found


def test_a_success_whose_layer_is_gone(ci_env: Callable[[Who], CiEnv]) -> None:
    """What the step saw is there, but not what it left: then the files of both cannot be compared."""
    made = project(ci_env("root"), "only: {steps: [{name: good, run: 'echo fine; echo x >x'}]}")
    record = json.loads(_record(made, made.run().id).read_text())
    _, left = record["jobs"][0]["steps"][0]["after"]
    shutil.rmtree(made.ci_env.store / "layers" / left.partition(":")[2])
    assert made.replay()["reasons"] == ["exit status 0 and the same output both times"]


def test_where_it_cannot_tell(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), FAILING)
    run = made.run(code=1)
    record = json.loads(made.call("runs", "show", "--json").out)
    output = record["jobs"][0]["steps"][1]["output"]
    (made.ci_env.store / "blobs" / output.replace(":", "/")).unlink()
    verdict = made.replay(run.id, code=8)
    assert verdict["verdict"] == "cannot-tell"
    assert "the record holds no output to compare" in str(verdict["reasons"])


def test_a_shell_before_and_after(actor: CiEnv) -> None:
    made = project(actor, FAILING)
    run = made.run(code=1)
    before = made.call("replay", "--shell", stdin="cat state; ls -d /opt/made; touch mine; exit 7\n")
    assert before.code == 7
    assert "prepared" in before.out
    assert "/opt/made" in before.out
    assert f"the state before build/test of run {run.id}" in before.err
    assert "  $ cat state; echo broken >state" in before.err
    after = made.call("replay", "--shell", "--after", stdin="cat state; ls mine /opt; pwd; echo $CI\n")
    assert after.code == 0
    assert "broken" in after.out
    assert "ls: cannot access 'mine'" in after.out
    assert "the state after build/test of run" in after.err
    assert "(exit status 3)" in after.err
    assert leftovers(actor) == []
    for wrong in (("--after",), ("--shell", "--json")):
        assert made.call("replay", *wrong).code == 2


def test_runs_that_are_not_there(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), FAILING)
    called = made.call("replay")
    assert (called.code, called.err) == (2, "error: there is no run yet\nhint: `ci-env run` makes one\n")
    run = made.run(code=1)
    close = run.id[:-1] + "zz"
    called = made.call("replay", close)
    assert called.code == 2
    assert f"error: there is no run '{close}'; did you mean `{run.id}`?" in called.err


def test_a_damaged_record_is_told(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), FAILING)
    run = made.run(code=1)
    record = _record(made, run.id)
    whole = record.read_text()
    record.write_text(whole[: len(whole) // 2])
    called = made.call("replay", run.id)
    assert called.code == 5
    assert f"error: {record} is damaged: " in called.err
    record.write_text(re.sub('"version":[0-9]+', '"version":99', whole))
    called = made.call("replay", run.id)
    assert called.code == 2
    assert "a newer ci-env wrote" in called.err
    record.unlink()
    assert made.call("replay", run.id).code == 2
    assert made.run(code=1).id != run.id


def test_layers_that_are_gone_are_told(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("root"), FAILING)
    made.run(code=1)
    for layer in (made.ci_env.store / "layers").iterdir():
        shutil.rmtree(layer)
    called = made.call("replay")
    assert called.code == 2
    assert "error: the store lacks " in called.err
    assert (
        "of the 2 layers that the step 'build/test' saw\nhint: they have been removed; run the pipeline again"
        in called.err
    )
    made.run(code=1)
    assert made.replay()["verdict"] == "same"


def _record(made: Project, run_id: str) -> Path:
    return made.ci_env.store / "runs" / run_id / "record.json"


def test_a_shell_on_a_terminal(actor: CiEnv) -> None:
    made = project(actor, FAILING)
    made.run(code=1)
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 37, 91, 0, 0))
    with open(slave, "rb", buffering=0) as terminal, open(master, "r+b", buffering=0) as screen:
        before = termios.tcgetattr(terminal)
        started = subprocess.Popen(
            actor.argv("replay", "--shell"),
            cwd=made.root,
            env=actor.environment({"TERM": "xterm"}),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        _type(screen, "", until="# ")
        assert "37 91\r\nprepared\r\n" in _type(screen, "stty size; cat state; tty\n", until="/dev/pts/")
        _type(screen, "echo sleeping; sleep 300\n", until="sleeping\r\n")
        time.sleep(0.3)
        _type(screen, "\x03", until="^C")
        shown = _type(screen, "echo status $?; exit 9\n", until="exit\r\n")
        assert started.wait(30) == 9
        assert "status 130" in shown
        assert termios.tcgetattr(terminal) == before
    assert leftovers(actor) == []


def _type(screen: FileIO, keys: str, *, until: str) -> str:
    """Type `keys`, and return what is shown until `until` is there."""
    screen.write(keys.encode())
    shown = ""
    deadline = time.monotonic() + 20
    while until not in shown.replace(keys.replace("\n", "\r\n"), ""):
        assert select.select([screen], [], [], max(deadline - time.monotonic(), 0))[0], shown
        shown += os.read(screen.fileno(), 65536).decode()
    return shown

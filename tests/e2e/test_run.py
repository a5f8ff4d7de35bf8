"""`ci-env run`: what a step is given, how jobs follow each other, and what is kept of them."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from io import FileIO

import pytest

from tests.account import Who
from tests.installed import CiEnv
from tests.project import leftovers, project

SEES = """
looks:
  env: {FROM_JOB: job, TZ: Europe/Berlin}
  steps:
    - name: env
      run: env | sort
      env: {FROM_STEP: "x # y", TZ: Asia/Tokyo}
    - name: facts
      run: |
        echo $(id -u) $(umask) $(hostname) $(stat -c %Y.%u.%g.%a README)
        cat
        ls -A /root /home /tmp /workspace
        grep -c : /proc/net/dev
    - name: chosen
      run: echo $SOURCE_DATE_EPOCH $(stat -c %Y src/main.c); ls -A /workspace
      inputs: [src/]
    - name: python
      shell: python3 -B
      workdir: new/place
      run: |
        import os, sys
        print(os.getcwd(), sys.flags.dont_write_bytecode)
    - name: elsewhere
      workdir: /opt/tool
      run: pwd
"""
WORKSPACE = [".gitignore", "README", "ci-env.yml", "src"]


def test_what_a_step_sees(actor: CiEnv) -> None:
    made = project(actor, SEES, files={"README": "read me\n", "src/main.c": "int x;\n"})
    made.put("ignored", "x")
    made.put(".gitignore", "ignored\n")
    made.commit()
    epoch = actor.git(made.root, "log", "-1", "--format=%ct").strip()

    run = made.run(env={"SECRET": "of the host", "PYTHONPATH": "/nowhere", "GIT_DIR": "/nowhere"})
    assert run.lines("env") == [
        "CI=true",
        "FROM_JOB=job",
        "FROM_STEP=x # y",
        "HOME=/root",
        "LANG=C.UTF-8",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PWD=/workspace",
        f"SOURCE_DATE_EPOCH={epoch}",
        "TZ=Asia/Tokyo",
    ]
    facts, *listing, devices = run.lines("facts")
    assert facts == f"0 0022 ci-env {epoch}.0.0.644"
    assert listing == [
        "/home:",
        "",
        "/root:",
        "",
        "/tmp:",
        "",
        "/workspace:",
        ".gitignore",
        "README",
        "ci-env.yml",
        "src",
    ]
    assert devices == "1"
    assert run.lines("chosen")[0] == "315532800 315532800"
    assert run.lines("python") == ["/workspace/new/place 1"]
    assert run.lines("elsewhere") == ["/opt/tool"]
    assert set(run.steps.values()) == {"passed"}
    assert leftovers(actor) == []


def test_the_user_of_a_step(actor: CiEnv) -> None:
    made = project(
        actor,
        """
        as:
          steps:
            - {name: prepare, run: "mkdir -m 777 /drop"}
            - {name: other, user: "1000:100", run: "id -u; id -g; touch /drop/file"}
            - {name: owner, run: "stat -c %u:%g /drop/file"}
        """,
    )
    if actor.account.who == "user-nosub":
        called = made.call("run")
        assert called.code == 3
        assert "hint: only root exists inside, as this user has no subordinate ids" in called.err
        assert leftovers(actor) == []
        return
    run = made.run()
    assert run.lines("other") == ["1000", "100"]
    assert run.lines("owner") == ["1000:100"]
    assert made.run().steps == {"prepare": "cached", "other": "cached", "owner": "cached"}


def test_after_a_failure(actor: CiEnv) -> None:
    made = project(
        actor,
        """
        first:
          steps:
            - {name: fails, run: "echo before; echo left >left; exit 3"}
            - {name: next, run: "echo never"}
            - {name: rescue, when: on_failure, run: "cat left"}
            - {name: tidy, when: always, run: "echo tidy"}
        second: {needs: [first], steps: [{name: dependent, run: "echo never"}]}
        third: {steps: [{name: independent, run: "true"}, {name: no-failure, when: on_failure, run: "echo never"}]}
        """,
    )
    run = made.run(code=1)
    assert {step: status for step, status in run.steps.items() if status != "skipped"} == {
        "first/fails": "failed",
        "first/rescue": "passed",
        "first/tidy": "passed",
        "third/independent": "passed",
    }
    assert run.lines("rescue") == ["left"]
    jobs = {event["job"]: event["status"] for event in run.of("JobFinished")}
    assert jobs == {"first": "failed", "second": "skipped", "third": "passed"}
    (failure,) = run.of("StepFailure")
    assert failure["ending"] == "exit status 3"
    assert failure["tail"] == ["before"]
    assert failure["replay"] == f"{actor.program} replay {run.id}"


def test_what_people_read_on_a_pipe(actor: CiEnv) -> None:
    made = project(actor, "only: {steps: [{name: fails, run: 'echo why; kill -9 $$'}]}")
    called = made.call("run")
    assert (called.code, called.out) == (1, "")
    first, *_ = called.err.splitlines()
    run_id = first.removeprefix("run ").partition(":")[0]
    assert "fails | why" in called.err
    assert "\x1b" not in called.err
    assert "Failed: only / fails: signal 9 (SIGKILL)" in called.err
    assert called.err.rstrip().splitlines()[-1].strip() == f"{actor.program} replay {run_id}"


def test_matrix_needs_and_artifacts(actor: CiEnv) -> None:
    made = project(
        actor,
        """
        build:
          matrix: {word: [a, b]}
          steps:
            - name: make
              run: mkdir out && echo ${{ matrix.word }} >out/${{ matrix.word }}
              artifacts: [out/]
            - name: report
              run: echo "<testsuite/>" >report.xml; exit 0
              reports: {junit: [report.xml]}
              artifacts: [absent/]
        use:
          needs: [build]
          steps: [{name: read, run: "cat out/a out/b; cat report.xml"}]
        other: {steps: [{run: "true"}]}
        """,
    )
    run = made.run("use")
    assert run.lines("read") == ["a", "b", "<testsuite/>"]
    assert {str(event["job"]) for event in run.of("JobFinished")} == {"build (word=a)", "build (word=b)", "use"}
    warnings = {str(event["message"]) for event in run.of("Note")}
    assert any("no file matches the artifact 'absent/'" in warning for warning in warnings), warnings
    assert set(made.run("use").steps.values()) == {"cached"}
    assert set(made.run("build").steps.values()) == {"cached"}


def test_artifacts_of_a_failed_step_are_kept(actor: CiEnv) -> None:
    made = project(actor, "only: {steps: [{name: fails, run: 'echo x >log.txt; exit 1', artifacts: [log.txt]}]}")
    made.run(code=1)
    record = json.loads(made.call("runs", "show", "--json").out)
    digest = record["jobs"][0]["steps"][0]["artifacts"]
    assert b"log.txt" in (actor.store / "blobs" / digest.replace(":", "/")).read_bytes()


MEETING = """
one: {steps: [{name: meet, caches: [/meet], run: "touch /meet/one; until [ -e /meet/two ]; do sleep 0.02; done"}]}
two: {steps: [{name: meet, caches: [/meet], run: "touch /meet/two; until [ -e /meet/one ]; do sleep 0.02; done"}]}
"""


def test_jobs_overlap(actor: CiEnv) -> None:
    made = project(actor, MEETING)
    assert set(made.run("-j", "2").steps.values()) == {"passed"}


def test_one_job_at_a_time(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), "one: {steps: [{run: 'sleep 0.2'}]}\ntwo: {steps: [{run: 'sleep 0.2'}]}\n")
    kinds = [(event["event"], event["job"]) for event in made.run("-j", "1").events if "Job" in str(event["event"])]
    assert kinds == [("JobStarted", "one"), ("JobFinished", "one"), ("JobStarted", "two"), ("JobFinished", "two")]


def test_caches_are_kept_and_are_no_result(actor: CiEnv) -> None:
    made = project(
        actor,
        """
        only:
          steps:
            - {name: fill, caches: [/var/cache/mine], run: "ls /var/cache/mine; echo x >/var/cache/mine/$(date +%s%N)"}
            - {name: without, run: "ls -A /var/cache/mine"}
        """,
    )
    assert made.run().lines("fill") == []
    again = made.run("--no-cache")
    assert len(again.lines("fill")) == 1
    assert again.lines("without") == []
    assert made.run().steps == {"fill": "cached", "without": "cached"}


def test_timeouts(actor: CiEnv) -> None:
    made = project(
        actor,
        """
        step: {steps: [{name: slow, timeout: 1s, run: "echo begun; trap '' TERM; sleep 300 & sleep 300"}]}
        job: {limits: {timeout: 1s}, steps: [{name: quick, run: "true"}, {name: long, run: "sleep 300"}]}
        """,
    )
    run = made.run(code=1)
    assert run.ending("slow").startswith("timeout after 1 s")
    assert run.ending("long").startswith("timeout after 1 s")
    assert run.lines("slow") == ["begun"]
    assert run.steps["job/quick"] == "passed"
    assert leftovers(actor) == []


def test_network(actor: CiEnv) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # the kernel takes connections that nobody accepts
        dial = (
            f"bash -c '</dev/tcp/127.0.0.1/{server.getsockname()[1]}' 2>/dev/null && echo reached || echo not reached"
        )
        steps = f'[{{name: none, run: "{dial}"}}, {{name: host, network: host, run: "{dial}"}}]'
        done = project(actor, f"only: {{steps: {steps}}}").run()
    assert done.lines("none") == ["not reached"]
    assert done.lines("host") == ["reached"]


def test_the_plan_is_printed_and_nothing_is_run(actor: CiEnv) -> None:
    made = project(actor, "only: {steps: [{name: step, run: 'echo ran'}]}")
    called = made.call("run", "--plan")
    assert called.code == 0
    plan = json.loads(called.out)
    assert plan["jobs"][0]["steps"][0]["argv"] == ["sh", "-e", "-c", "echo ran"]
    assert made.call("run", "--plan").out == called.out
    assert made.call("runs", "ls").out == ""


def test_output_of_any_size_and_kind(actor: CiEnv) -> None:
    made = project(
        actor,
        r"""
        only:
          steps:
            - {name: long, run: "head -c 300000 /dev/zero | tr '\\0' x"}
            - {name: odd, run: "printf 'caf\\351 \\033[31mred\\0nul\\nno newline'"}
            - {name: many, run: "seq 20000"}
            - {name: orphan, run: "(sleep 300; echo late) & echo left"}
        """,
    )
    run = made.run()
    (long,) = run.lines("long")
    assert long.startswith("x" * 65536 + " [ci-env: ")
    assert run.lines("odd") == ["caf\ufffd \x1b[31mred\0nul", "no newline"]
    assert run.lines("many")[-1] == "20000"
    assert run.lines("orphan") == ["left"]
    logs = actor.argv("runs", "logs", "--step", "odd")
    done = subprocess.run(logs, env=actor.environment(), capture_output=True, check=True, timeout=60)
    assert done.stdout == b"caf\xe9 \033[31mred\0nul\nno newline"


@pytest.mark.parametrize(
    ("service", "group"),
    [({"GITHUB_ACTIONS": "true"}, "::group::only / fails"), ({"GITLAB_CI": "true"}, "section_start:")],
)
def test_in_a_service_the_log_has_its_format(
    ci_env: Callable[[Who], CiEnv], service: dict[str, str], group: str
) -> None:
    made = project(ci_env("user"), "only: {steps: [{name: fails, run: 'echo why; exit 2'}]}")
    called = made.call("run", env=service)
    assert called.code == 1
    assert group in called.out
    assert "why" in called.out.splitlines()
    assert "ci-env replay" in called.out
    assert called.err == ""
    assert made.run(code=1, env=service).of("RunFinished")  # what was asked for by name is what is printed


def test_on_a_terminal(actor: CiEnv) -> None:
    made = project(actor, "only: {steps: [{name: good, run: 'echo fine'}, {name: fails, run: 'echo why; exit 2'}]}")
    master, slave = pty.openpty()
    with open(master, "rb", buffering=0) as screen:
        with open(slave, "wb", buffering=0) as terminal:
            started = subprocess.Popen(
                actor.argv("run"),
                cwd=made.root,
                env=actor.environment({"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}),
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=terminal,
            )
        shown = _read_to_its_end(screen)
        assert started.wait(60) == 1
    assert "\x1b[" in shown
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(r"good +[0-9.]+ m?s", plain), plain
    assert "Failed: only / fails: exit status 2" in plain
    assert plain.rstrip().splitlines()[-1].strip().startswith(f"{actor.program} replay ")


def _read_to_its_end(screen: FileIO) -> str:
    """Return all that is written to a terminal until nobody has it open: Linux ends it with EIO then (pty(7))."""
    shown = b""
    with suppress(OSError):
        while piece := os.read(screen.fileno(), 65536):
            shown += piece
    return shown.decode()

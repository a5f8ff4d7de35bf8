"""Ctrl-C and its like at any moment: everything ends, nothing is left, and the next run is fine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable

import pytest

from tests.account import Who
from tests.fault_registry import Request, Response, fault_registry
from tests.installed import CiEnv
from tests.oci_builder import d, f, image, sha256, tar
from tests.project import Project, leftovers, project

PATIENT = """
only:
  steps:
    - {name: first, run: "echo x >x"}
    - {name: second, caches: [/seen], run: "[ -e /seen/it ] || { touch /seen/it; echo waiting; sleep 300; }"}
    - {name: tidy, when: always, run: "true"}
other:
  steps: [{name: waits, caches: [/seen], run: "[ -e /seen/other ] || { touch /seen/other; sleep 300 & wait; }"}]
"""
STUBBORN = """
only: {steps: [{name: stubborn, run: "trap '' TERM INT; echo waiting; while :; do sleep 1; done"}]}
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_during_steps(actor: CiEnv, number: signal.Signals) -> None:
    made = project(actor, PATIENT)
    started = _start(made)
    _await(lambda: _are_waiting(actor))
    began = time.monotonic()
    os.kill(started.pid, number)
    out, err = started.communicate(timeout=30)
    assert time.monotonic() - began < 8
    assert started.returncode == 128 + number, err
    assert err == f"interrupted by signal {int(number)}\n"
    events = [json.loads(line) for line in out.splitlines()]
    statuses = {event["step"]: event["status"] for event in events if event["event"] == "StepFinished"}
    assert statuses == {"first": "passed", "second": "cancelled", "tidy": "skipped", "waits": "cancelled"}
    assert events[-1]["status"] == "cancelled"
    assert "cancelled" in made.call("runs", "ls").out
    assert leftovers(actor) == []
    assert made.run().steps["only/first"] == "cached"


def test_jobs_that_have_not_begun_are_skipped(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), PATIENT)
    started = _start(made, "--parallel", "1")
    _await(lambda: any((made.ci_env.store / "caches").glob("*/it")))
    os.kill(started.pid, signal.SIGINT)
    out, _ = started.communicate(timeout=30)
    events = [json.loads(line) for line in out.splitlines()]
    jobs = {event["job"]: event["status"] for event in events if event["event"] == "JobFinished"}
    assert jobs == {"only": "cancelled", "other": "skipped"}
    assert "waits" not in {event["step"] for event in events if event["event"] == "StepStarted"}


def test_as_a_terminal_sends_it(actor: CiEnv) -> None:
    made = project(actor, PATIENT)
    started = _start(made)
    _await(lambda: _are_waiting(actor))
    os.killpg(started.pid, signal.SIGINT)  # to all of the foreground, our own helpers too
    _, err = started.communicate(timeout=30)
    assert "Traceback" not in err
    assert leftovers(actor) == []
    assert made.run().steps["only/first"] == "cached"


def test_twice_ends_what_does_not_listen(actor: CiEnv) -> None:
    made = project(actor, STUBBORN)
    started = _start(made)
    assert started.stdout is not None
    assert any("waiting" in line for line in started.stdout)
    for _ in range(2):
        os.kill(started.pid, signal.SIGINT)
        time.sleep(0.3)
    began = time.monotonic()
    _, err = started.communicate(timeout=30)
    assert time.monotonic() - began < 5
    assert started.returncode == 130, err
    assert leftovers(actor) == []


def test_while_nothing_runs_yet(actor: CiEnv) -> None:
    """Sends the signal a little later each time, so that it comes during resolution, the start and the first step."""
    made = project(actor, "only: {steps: [{name: step, run: 'sleep 0.2'}]}")
    made.run()
    for delay_s in (0, 0.02, 0.05, 0.1, 0.2):
        started = _start(made, "--no-cache")
        _await(lambda: any((actor.store / "tmp").iterdir()))
        time.sleep(delay_s)
        os.kill(started.pid, signal.SIGINT)
        _, err = started.communicate(timeout=30)
        assert started.returncode in (130, 0), (delay_s, err[-3000:])
        assert "Traceback" not in err
        assert leftovers(actor) == [], delay_s
    assert made.run().steps == {"step": "cached"}


def test_during_a_pull(actor: CiEnv) -> None:
    content = image([tar([d("bin"), f("big", os.urandom(1 << 20))])])
    begun = threading.Event()

    def answer(request: Request) -> Response:
        if "/manifests/" in request.path:
            return Response(body=content.manifest, headers={"Content-Type": json.loads(content.manifest)["mediaType"]})
        digest = request.path.rpartition("/")[2]
        if digest == sha256(content.layers[0]):
            begun.set()
            time.sleep(1)
        return Response(body=content.blobs.get(digest, b""))

    with fault_registry(answer) as slow:
        made = project(actor, "only: {steps: [{name: step, run: 'true'}]}", image=f"{slow.host}/x:1")
        started = _start(made)
        assert begun.wait(30)
        time.sleep(0.2)
        os.kill(started.pid, signal.SIGINT)
        _, err = started.communicate(timeout=30)
    assert (started.returncode, err) == (130, "interrupted by signal 2\n")
    assert leftovers(actor) == []
    assert not list((actor.store / "layers").iterdir())


def test_during_a_replay(ci_env: Callable[[Who], CiEnv]) -> None:
    who = ci_env("user")
    made = project(who, "only: {steps: [{name: step, timeout: 1s, run: 'echo begun; sleep 300'}]}")
    made.run(code=1)
    made.call("replay")
    started = subprocess.Popen(
        who.argv("replay"), cwd=made.root, env=who.environment(), stderr=subprocess.PIPE, text=True
    )
    assert started.stderr is not None
    assert any("begun" in line for line in started.stderr)
    os.kill(started.pid, signal.SIGINT)
    assert started.wait(30) == 130
    started.stderr.close()
    assert leftovers(who) == []


def _are_waiting(actor: CiEnv) -> bool:
    """Tell whether both jobs of PATIENT have got to where they wait."""
    return len([*(actor.store / "caches").glob("*/it"), *(actor.store / "caches").glob("*/other")]) == 2


def _start(made: Project, *arguments: str) -> subprocess.Popen[str]:
    return made.ci_env.start("run", "--format", "json", "-j", "2", *arguments, cwd=made.root)


def _await(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.02)

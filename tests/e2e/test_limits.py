"""`limits:` from the file to what people and programs are told."""

from __future__ import annotations

import json
import os

from ci_env_runners.cgroup_home import find_homes
from tests.installed import CiEnv
from tests.project import leftovers, project

HOG = """
hog:
  limits: {memory: 64MiB, pids: 100, cpus: 1, disk: 200MiB, open_files: 300}
  steps:
    - {name: open, run: "ulimit -n"}
    - {name: hog, run: "exec python3 -c 'x = bytearray(300 << 20)'"}
    - {name: after, when: always, run: "true"}
"""
FILLER = "filler: {limits: {disk: 16MiB}, steps: [{name: fill, run: cat /dev/zero >file}]}"


def test_a_memory_limit(actor: CiEnv) -> None:
    made = project(actor, HOG)
    done = made.run(code=1)
    assert done.lines("open") == ["300"]
    assert done.steps == {"open": "passed", "hog": "failed", "after": "passed"}
    notes = [str(event["message"]) for event in done.of("Note")]
    is_this_user = actor.account.uid == os.geteuid()
    if is_this_user and "memory" in {name for home in find_homes() for name in home.controllers}:
        assert done.ending("hog") == "memory limit of 64MiB reached, signal 9 (SIGKILL)"
        assert notes == [
            "hog / hog: all its processes share one memory limit; the job's `limits: {memory: …}` raises it"
        ]
    else:
        assert done.ending("hog") == "exit status 1"  # a MemoryError
        assert [note for note in notes if "may make no control group with memory, pids, cpu here" in note] == notes[:1]
    (used,) = [event["used"] for event in done.of("StepFinished") if event["step"] == "open"]
    assert isinstance(used, dict)
    assert used["cpu_ms"] >= 0
    assert used["peak_memory_bytes"] > 0
    shown = made.call("runs", "show").out
    assert "of CPU, " in shown
    assert done.ending("hog") in shown
    assert made.replay()["verdict"] == "same"
    assert leftovers(actor) == []


def test_a_disk_limit(actor: CiEnv) -> None:
    made = project(actor, FILLER)
    done = made.run(code=1)
    assert done.ending("fill") == "disk limit of 16MiB reached"
    (record,) = actor.store.glob("runs/*/record.json")
    assert json.loads(record.read_text())["jobs"][0]["steps"][0]["ended"] == "disk"
    told = made.call("run", "--format", "plain")
    assert told.code == 1
    assert "note: filler / fill: what it writes outside of its caches counts" in told.err
    assert leftovers(actor) == []


def test_limits_that_hold_are_not_spoken_of(actor: CiEnv) -> None:
    made = project(actor, "only: {limits: {disk: 1GiB, open_files: 100}, steps: [{name: step, run: 'true'}]}")
    assert not made.run().of("Note")

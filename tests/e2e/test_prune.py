"""`ci-env prune` and `ci-env store check`, by every account: whatever ids the files in the store have."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from tests.installed import CiEnv
from tests.project import Project, leftovers, project

# A directory that only another id may look into, where there is one.
JOBS = """
only:
  steps:
    - {name: make, caches: [/c], run: "mkdir -p /c/d d; echo x | tee d/x /c/d/x; chown -R 5:5 d /c/d; chmod 700 d /c/d"}
    - {name: fail, run: "echo failed >why; cat why; exit 3"}
"""


def entries(ci_env: CiEnv, *kinds: str) -> list[str]:
    return [name for kind in kinds for name in os.listdir(ci_env.store / kind) if not name.startswith(".")]


def grow_old(ci_env: CiEnv) -> None:
    """Have everything in the store look as if nobody had used it for 20 days."""
    then = (ci_env.store / "locks").stat().st_mtime - 20 * 86400
    for pattern in ("layers/*/layer.json", "*s/*.json", "runs/*/record.json", "caches/*.used"):
        for path in ci_env.store.glob(pattern):
            os.utime(path, (then, then))


def facts(made: Project, *arguments: str) -> dict[str, dict[str, int]]:
    called = made.call("prune", "--json", *arguments)
    assert called.code == 0, called
    found: dict[str, dict[str, int]] = json.loads(called.out)
    return found


def test_old_things_go_and_the_newest_run_can_be_replayed(actor: CiEnv) -> None:
    made = project(actor, JOBS)
    old = made.run(code=1)
    time.sleep(1.1)  # an id tells seconds
    new = made.run("--no-cache", code=1)
    grow_old(actor)
    before = entries(actor, "layers", "blobs/sha256", "runs", "steps", "caches")
    would = made.call("prune", "--dry-run", "--keep", "1").out
    assert f"would remove run {old.id}\n" in would
    assert "would free" in would
    assert entries(actor, "layers", "blobs/sha256", "runs", "steps", "caches") == before

    said = made.call("prune", "--keep", "1").out
    assert said == would.replace("would remove", "removed").replace("would free", "freed")
    assert entries(actor, "runs") == [new.id]
    assert entries(actor, "caches", "steps") == []
    assert made.replay()["verdict"] == "same"
    assert made.call("store", "check").code == 0
    assert made.run(code=1).steps == {"make": "passed", "fail": "failed"}
    assert leftovers(actor) == []


def test_all_goes(actor: CiEnv) -> None:
    made = project(actor, JOBS)
    made.run(code=1)
    assert sum(facts(made)["removed"][kind] for kind in ("run", "layer", "step", "cache")) == 0
    assert facts(made, "--all")["removed"] | {"leftover": 0} == {
        "run": 1,
        "layer": 3,
        "step": 2,
        "image": 0,
        "pipeline": 1,
        "cache": 1,
        "leftover": 0,
        "blob": 2,
    }
    assert entries(actor, "layers", "blobs/sha256", "runs", "steps", "caches", "pipelines") == []
    assert "freed 0 B\n" in made.call("prune", "--all").out
    assert leftovers(actor) == []


def test_until_it_fits(actor: CiEnv) -> None:
    step = "only: {{steps: [{{name: fill, run: 'head -c 2000000 /dev/urandom >{}'}}]}}"
    made = project(actor, step.format("a"))
    runs = [made.run()]
    for name in "bcd":
        time.sleep(1.1)
        made.pipeline(step.format(name))
        runs.append(made.run())
    called = made.call("prune", "--keep", "1", "--max-size", "5MB")
    assert called.code == 0
    assert f"removed run {runs[0].id}\n" in called.out
    assert entries(actor, "runs").count(runs[-1].id) == 1
    assert made.run().steps == {"fill": "cached"}
    called = made.call("prune", "--max-size", "1kB")
    assert "the store still has " in called.err
    assert made.call("store", "check").code == 0


def test_wrong_arguments(actor: CiEnv) -> None:
    made = project(actor, JOBS)
    for arguments in (("--older", "14"), ("--max-size", "ten"), ("--keep", "-1"), ("--older", "-1d"), ("extra",)):
        called = made.call("prune", *arguments)
        assert called.code == 2, called


def test_damage_is_found_and_repaired(actor: CiEnv) -> None:
    made = project(actor, "only: {steps: [{name: one, run: echo one}, {name: two, run: exit 3}]}")
    made.run(code=1)
    assert made.call("store", "check", "--deep").code == 0
    change(actor, next(path for path in (actor.store / "blobs" / "sha256").iterdir() if path.read_text() == "one\n"))
    marker = next((actor.store / "layers").glob("*/listing")).with_name("layer.json")
    change(actor, marker)
    called = made.call("store", "check")
    assert called.code == 5
    assert "blobs      1 good, 1 bad\n" in called.out
    assert "its marker" not in called.out
    assert "hint: `ci-env store check --repair` drops what is damaged" in called.err
    repaired = made.call("store", "check", "--repair", "--json")
    assert repaired.code == 0
    assert sorted(flaw["kind"] for flaw in json.loads(repaired.out)["flaws"]) == ["blobs", "layers", "runs", "steps"]
    assert made.call("store", "check").code == 0
    assert made.run(code=1).steps == {"one": "passed", "two": "failed"}


def test_deep_reads_what_failed_steps_left(actor: CiEnv) -> None:
    made = project(actor, "only: {steps: [{name: bad, run: 'echo before >file; exit 3'}]}")
    made.run(code=1)
    change(actor, next((actor.store / "layers").glob("*/root/workspace/file")))
    assert made.call("store", "check").code == 0
    called = made.call("store", "check", "--deep", "--repair")
    assert "its content is not what its run recorded" in called.out
    assert made.call("store", "check", "--deep").code == 0


def change(ci_env: CiEnv, path: Path) -> None:
    """Flip a bit, and leave owner and mode as they are."""
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    mode = path.stat().st_mode
    path.chmod(0o600)
    path.write_bytes(content)
    path.chmod(mode)

"""The capsule that `ci-env run` leaves: when, where, and that nothing about it changes the run."""

from __future__ import annotations

import json
import os
import re

from backports import zstd

from tests.installed import CiEnv
from tests.project import Project, project

BIG = "build: {steps: [{name: test, run: 'head -c 40000000 /dev/urandom >big'}, {name: fail, run: 'exit 3'}]}"


def capsules(made: Project) -> list[str]:
    return sorted(str(path.relative_to(made.ci_env.store)) for path in made.ci_env.store.glob("runs/*/*.cienv"))


def test_on_failure(actor: CiEnv) -> None:
    made = project(actor, "build: {steps: [{name: test, run: 'test ! -e fail'}]}")
    made.run()
    assert capsules(made) == []
    made.put("fail", "")
    run = made.run(code=1)
    assert capsules(made) == [f"runs/{run.id}/capsule.cienv"]
    (failure,) = run.of("StepFailure")
    path = actor.store / "runs" / run.id / "capsule.cienv"
    assert failure["capsule"] == str(path)
    called = made.call("run")
    assert re.search(r"\n  On other machines:  ci-env replay .*/capsule\.cienv\n", called.err), called.err
    assert made.replay(str(path))["verdict"] == "same"

    made.call("runs", "rm", run.id)
    assert not path.exists()


def test_when_it_is_asked_for(actor: CiEnv) -> None:
    made = project(actor, "build: {steps: [{name: test, run: 'test ! -e fail'}]}")
    passed = made.run("--capsule", "always")
    assert capsules(made) == [f"runs/{passed.id}/capsule.cienv"]
    assert made.replay(str(actor.store / "runs" / passed.id / "capsule.cienv"))["success"]
    made.run("--capsule", "given.cienv")
    assert made.replay("given.cienv")["success"]
    made.put("fail", "")
    failed = made.run("--capsule", "never", code=1)
    assert capsules(made) == [f"runs/{passed.id}/capsule.cienv"]
    assert failed.of("StepFailure")[0].get("capsule", "") == ""


def test_a_large_one_is_left_to_pack(actor: CiEnv) -> None:
    made = project(actor, BIG)
    run = made.run(code=1)
    assert capsules(made) == []
    (note,) = [note for note in run.of("Note") if "capsule" in str(note["message"])]
    assert note["message"] == f"no capsule was written, since it would be large: `ci-env capsule pack {run.id}`"
    assert made.call("capsule", "pack", run.id, "-o", "big.cienv").code == 0
    assert (made.root / "big.cienv").stat().st_size > 40_000_000


def test_an_error_while_packing_is_a_warning(actor: CiEnv) -> None:
    made = project(actor, "build: {steps: [{name: test, run: 'echo >.wh.x; exit 3'}]}")
    run = made.run(code=1)
    (warning,) = [note for note in run.of("Note") if note["level"] == "warning"]
    assert str(warning["message"]).startswith("no capsule of the run was written: the layer cannot be packed")
    gone = made.run("--capsule", "gone/x.cienv", code=1)
    assert any("is in no directory" in str(note["message"]) for note in gone.of("Note"))
    assert made.replay(run.id)["verdict"] == "same"
    assert capsules(made) == []


def test_the_limit_that_ended_a_step_is_shown(actor: CiEnv) -> None:
    made = project(actor, "build: {steps: [{name: test, run: 'sleep 60', timeout: 1s}]}")
    called = made.call("capsule", "show", made.run(code=1).id)
    assert "  failed    build/test: timeout after 1 s\n" in called.out


def test_shown(actor: CiEnv) -> None:
    made = project(actor, "build: {steps: [{name: test, run: 'exit 3', caches: [/cached], network: host}]}")
    run = made.run(code=1)
    path = str(actor.store / "runs" / run.id / "capsule.cienv")
    called = made.call("capsule", "show", path)
    assert called.code == 0, called.err
    assert f"run {run.id}: failed\n" in called.out
    assert "  failed    build/test: exit status 3\n" in called.out
    for line in (
        "`image: host` of build",
        "over the network in build/test",
        "caches of build/test",
        "the kernel (",
        " lists files, and the time",
    ):
        assert line in called.out
    facts = json.loads(made.call("capsule", "show", run.id, "--json").out)
    assert facts["record"]["run_id"] == run.id
    assert facts["images"] == []
    assert {"source", "layer", "part", "size_bytes", "redacted"} >= set(facts["layers"][0])
    assert len(facts["not_reproduced"]) == 4
    assert made.call("capsule", "verify", path).code == 0


def damaged(content: bytes) -> bytes:
    """Return a capsule with one bit changed: 400 bytes before its end, where the manifest is, which everything reads.

    Or as near before that as it makes a difference: zstd has bits that mean nothing.
    """
    whole = zstd.decompress(content)
    flips = (content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in range(len(content) - 400, 0, -1))
    return next(changed for changed in flips if plain(changed) != whole)


def plain(content: bytes) -> bytes | None:
    try:
        return zstd.decompress(content)
    except zstd.ZstdError:
        return None


def test_damaged(actor: CiEnv) -> None:
    made = project(actor, "build: {steps: [{name: test, run: 'exit 3'}]}")
    made.run(code=1)
    assert made.call("capsule", "pack", "-o", "good.cienv").code == 0
    content = (made.root / "good.cienv").read_bytes()
    before = sorted(os.listdir(actor.store / "layers"))
    for number, (bad, codes) in enumerate(
        (
            (content[: len(content) // 2], (2,)),
            (content + b"x", (2,)),
            (b"", (2,)),
            (damaged(content), (2, 5)),
        )
    ):
        (made.root / f"bad{number}.cienv").write_bytes(bad)
        for words in (("replay",), ("capsule", "verify"), ("capsule", "show")):
            called = made.call(*words, f"bad{number}.cienv")
            if words != ("capsule", "show"):
                assert called.code in codes, (number, words, called)
    assert sorted(os.listdir(actor.store / "layers")) == before
    assert made.call("replay", "none.cienv").code == 2

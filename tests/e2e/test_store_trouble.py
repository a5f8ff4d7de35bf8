"""Disks that are full, read-only or another's: the run ends with the reason, and the store is good afterwards."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable

import pytest

from tests.account import Who
from tests.installed import CiEnv
from tests.project import Project, project

CODE = re.compile(r"^code (\d+)$", re.MULTILINE)
SPACE = "hint: free some space, or point CI_ENV_HOME at a larger disk\n"


@pytest.mark.root
@pytest.mark.parametrize(
    ("run", "size"),
    [
        ("dd if=/dev/zero of=/big bs=1M count=30 status=none || echo it is full; exit 0", "size=4m"),
        ("head -c 8000000 /dev/zero | tr '\\0' x | fold -w 9000", "size=4m"),
        ("true", "size=16k"),
        ("true", "nr_inodes=30"),
    ],
    ids=["by what a step leaves", "by its output", "before it begins", "of names"],
)
def test_a_full_disk(ci_env: Callable[[Who], CiEnv], run: str, size: str) -> None:
    made = _small(ci_env("root"), run)
    done = _shell(
        made, size, "mount -o remount,size=200m,nr_inodes=9999 $S; ls $S/tmp; $C run; echo code $?; $C runs ls"
    )
    assert CODE.findall(done.stdout) == ["3", "0"], done
    error = done.stderr[done.stderr.index("error: ") :]
    assert "No space left on device" in error or "has no space" in error
    assert SPACE in error
    left, _, listed = done.stdout.partition("code 3\n")[2].partition("code 0\n")
    assert left == ""
    assert "passed" in listed.splitlines()[0]
    assert re.search(r"^step: passed, ", done.stderr, re.MULTILINE)  # nothing of the first run has been taken for whole


@pytest.mark.root
def test_a_read_only_store(ci_env: Callable[[Who], CiEnv]) -> None:
    made = _small(ci_env("root"), "true")
    while_it_is = "mount -o remount,ro $S; $C run; echo code $?; $C replay; echo code $?"
    done = _shell(made, "size=50m", f"{while_it_is}; mount -o remount,rw $S; $C run; echo code $?")
    assert CODE.findall(done.stdout) == ["0", "3", "3", "0"], done
    assert "Read-only file system\nhint: " in done.stderr
    assert "step: cached" in done.stderr


@pytest.mark.root
def test_a_store_of_others(ci_env: Callable[[Who], CiEnv]) -> None:
    made = _small(ci_env("user"), "true")
    made.ci_env.store.mkdir()
    called = made.call("run")
    assert called.code == 3
    assert f"error: the store {made.ci_env.store} belongs to user 0, but this is user " in called.err
    assert "hint: each user needs a store; point CI_ENV_HOME at a directory of your own\n" in called.err
    made.ci_env.own(made.ci_env.home)
    made.ci_env.store.chmod(0o777)
    called = made.call("run")
    assert called.code == 3
    assert f"hint: chmod 700 {made.ci_env.store}\n" in called.err


def test_a_place_that_cannot_be_written(ci_env: Callable[[Who], CiEnv]) -> None:
    made = _small(ci_env("user"), "true")
    for place, said in {
        "/proc/none": "error: cannot make the store at /proc/none: ",
        "/etc/shadow/x": "error: cannot make the store at ",
        "relative": "error: CI_ENV_HOME is 'relative', which is not an absolute path\n",
        str(made.root / "ci-env.yml"): "is not a directory\nhint: remove it, or point CI_ENV_HOME elsewhere\n",
    }.items():
        called = made.call("run", env={"CI_ENV_HOME": place})
        assert called.code in (2, 3), called
        assert said in called.err


def _small(ci_env: CiEnv, run: str) -> Project:
    return project(ci_env, "only: {steps: [{name: step, run: sh script}]}", files={"script": f"{run}\n"})


def _shell(made: Project, options: str, then: str) -> subprocess.CompletedProcess[str]:
    """Run the pipeline with its store on a filesystem with `options`, say its exit code, and do `then` with it."""
    made.ci_env.store.mkdir()
    names = f"S={shlex.quote(str(made.ci_env.store))}; C={shlex.quote(str(made.ci_env.program))}"
    script = f"{names}; mount -t tmpfs -o mode=700,{options} none $S; $C run; echo code $?; {then}"
    return subprocess.run(
        ("unshare", "--mount", "sh", "-c", script),
        cwd=made.root,
        env=made.ci_env.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_failure_survives_a_disk_that_cannot_sync(ci_env: Callable[[Who], CiEnv]) -> None:
    """Its job is the last one, so that nothing but the end of the run comes after it."""
    made = _small(ci_env("user"), "echo found a bug; exit 7")
    programs = made.ci_env.home / "programs"
    programs.mkdir()
    (programs / "sync").write_text("#!/bin/sh\necho 'sync: error syncing: Input/output error' >&2\nexit 1\n")
    (programs / "sync").chmod(0o755)
    made.ci_env.own(programs)
    called = made.call("run", env={"PATH": f"{programs}:{made.ci_env.environment()['PATH']}"})
    assert called.code == 3, called
    assert f"cannot sync {made.ci_env.store}: Input/output error" in called.err
    assert "error" in made.call("runs", "ls").out.splitlines()[0]
    assert made.replay()["verdict"] == "same"

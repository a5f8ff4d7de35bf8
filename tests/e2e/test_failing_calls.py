"""A disk that refuses: each call of a kind fails once, in its turn, until a run does without (injected by strace)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

import pytest

from tests.account import Who
from tests.installed import CiEnv
from tests.project import Project, project

JOB = 'only: {steps: [{name: step, run: "echo hello > made", artifacts: [made]}]}'
_MAX_CALLS = 60


@pytest.fixture
def made(ci_env: Callable[[Who], CiEnv]) -> Project:
    if shutil.which("strace") is None:
        pytest.skip("needs strace (Debian package strace)")
    return project(ci_env("root"), JOB)


@pytest.mark.root
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("calls", "error", "said"),
    [
        (
            "fsync,fdatasync",
            "EIO",
            "Input/output error\nhint: the kernel's log (dmesg) says what is wrong with the disk",
        ),
        ("rename,renameat,renameat2", "EDQUOT", "Disk quota exceeded\nhint: free some space, or point CI_ENV_HOME at"),
    ],
)
def test_every_refusal_is_told_and_harms_nothing(made: Project, calls: str, error: str, said: str) -> None:
    """What was refused is never taken for done: the store that all these runs share is good after the last one."""
    number = 0
    while True:
        number += 1
        assert number < _MAX_CALLS
        done, has_failed = _run_with(made, calls, f"{error}:when={number}")
        if not has_failed:
            assert done.returncode == 0, done.stderr
            break
        assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (3, True, False), done.stderr
    assert number > 5
    assert os.listdir(made.ci_env.store / "tmp") == []
    assert made.call("store", "check").code == 0
    assert made.run().steps == {"step": "cached"}


@pytest.mark.root
def test_a_store_that_cannot_be_synced(made: Project) -> None:
    done, has_failed = _run_with(made, "syncfs", "EIO:when=1")
    assert (has_failed, done.returncode) == (True, 3), done.stderr
    assert f"cannot sync {made.ci_env.store}: " in done.stderr
    assert made.run().steps == {"step": "passed"}


@pytest.mark.root
def test_a_filesystem_without_locks_is_refused(made: Project) -> None:
    done, has_failed = _run_with(made, "flock", "ENOLCK")
    assert (has_failed, done.returncode, "Traceback" in done.stderr) == (True, 3, False), done.stderr
    assert " has no locks: No locks available\nhint: point CI_ENV_HOME at a directory on a local disk" in done.stderr
    written = [path.name for path in made.ci_env.store.rglob("*") if path.is_file() and path.stat().st_size]
    assert written == [".gitignore"]
    assert made.run().steps == {"step": "passed"}


def _run_with(made: Project, calls: str, injection: str) -> tuple[subprocess.CompletedProcess[str], bool]:
    """Run the pipeline without the cache; return how that ended, and whether anything was injected."""
    trace = made.ci_env.home / "trace"
    tracer = ("strace", "-f", "-qq", "--seccomp-bpf", "-o", str(trace), "-e", f"trace={calls}")
    done = subprocess.run(
        (*tracer, "-e", f"inject={calls}:error={injection}", *made.ci_env.argv("run", "--no-cache")),
        cwd=made.root,
        env=made.ci_env.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done, "(INJECTED)" in trace.read_text()

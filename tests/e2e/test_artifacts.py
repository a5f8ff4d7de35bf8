"""Artifacts and reports: kept whatever the exit status, and taken out of the store as files."""

from __future__ import annotations

import os
import stat

from tests.installed import CiEnv
from tests.project import project

JOBS = """
build:
  steps:
    - name: make
      run: |
        mkdir -p out/deep; echo content >out/deep/file; chmod 755 out/deep/file; ln -s deep/file out/link
        ln -s /etc/passwd out/escape; mkfifo out/pipe; echo "<testsuite/>" >report.xml; exit 3
      artifacts: [out/, absent/]
      reports: {junit: [report.xml]}
"""


def test_take_out(actor: CiEnv) -> None:
    made = project(actor, JOBS)
    run = made.run(code=1)
    assert any("no file matches the artifact 'absent/'" in str(note["message"]) for note in run.of("Note"))
    called = made.call("runs", "artifacts", "last", "taken")
    assert called.code == 0, called
    paths = ["out/deep/file", "out/escape", "out/link", "report.xml"]
    assert called.out.splitlines() == [f"taken/build/make/{path}" for path in paths]
    top = made.root / "taken/build/make"
    assert (top / "out/deep/file").read_text() == "content\n"
    assert stat.S_IMODE((top / "out/deep/file").stat().st_mode) == 0o755
    assert (os.readlink(top / "out/link"), os.readlink(top / "out/escape")) == ("deep/file", "/etc/passwd")
    assert (top / "report.xml").stat().st_uid == actor.account.uid

    again = made.call("runs", "artifacts", "last", "taken")
    assert (again.code, again.err) == (2, "error: taken is there already\nhint: name a new directory\n")


def test_a_run_without_any(actor: CiEnv) -> None:
    made = project(actor, 'only: {steps: [{run: "true"}]}')
    assert made.call("runs", "ls").err == "no runs yet: `ci-env run` makes one\n"
    run = made.run()
    called = made.call("runs", "artifacts")
    assert called.code == 2
    assert called.err.startswith(f"error: run {run.id} has no artifacts\n")

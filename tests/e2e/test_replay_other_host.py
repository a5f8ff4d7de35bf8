"""`image: host` where the machine's operating system is another: a replay runs, and does not pretend to know."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.account import Who
from tests.installed import CiEnv
from tests.project import Project, project

FAILING = "only: {steps: [{name: test, run: 'echo it broke; exit 3'}]}"


@dataclass(frozen=True)
class Elsewhere(CiEnv):
    """A caller on a machine where nothing is installed by hand."""

    def argv(self, *arguments: str) -> tuple[str, ...]:
        script = 'mount -t tmpfs tmpfs /usr/local && exec "$@"'
        return ("unshare", "--mount", "sh", "-c", script, "sh", *super().argv(*arguments))


@pytest.mark.root
def test_the_same_run_on_another_system(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("root"), FAILING)
    made.run(code=1)
    assert made.replay()["verdict"] == "same"
    there = Project(Elsewhere(made.ci_env.account, made.ci_env.program, made.ci_env.home), made.root)
    verdict = there.replay(code=8)
    assert (verdict["verdict"], verdict["reason"]) == ("cannot-tell", "other-host")
    words = "`image: host` is another operating system here than then"
    assert str(verdict["reasons"]).startswith(f"['{words}', 'exit status 3 and the same output both times'")


@pytest.mark.parametrize(("one", "other"), [("root", "user"), ("user", "root")])
def test_the_same_system_for_another_account(one: Who, other: Who, ci_env: Callable[[Who], CiEnv]) -> None:
    made, actor = project(ci_env(one), FAILING), ci_env(other)
    made.run("--capsule", "out.cienv", code=1)
    shown = made.call("capsule", "show", "out.cienv").out
    assert "the operating system of the machine that it ran on; on another, a replay cannot tell" in shown
    shutil.move(made.root / "out.cienv", actor.home / "out.cienv")
    assert Project(actor, actor.home).replay("out.cienv")["reason"] == "equal-output"

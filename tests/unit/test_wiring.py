"""Runners and adapters by their entry points: found, missing, broken."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ci_env.cli.wiring import adapter, runner_factory
from ci_env.errors import ConfigError, HostError
from ci_env.events import JobStarted

GOOD = """
def detect(env): return env.get("SERVICE") == "yes"
def context(env): return {"a": "b"}
def hide(secrets): return f"mask {len(secrets)}\\n"
def reporter(env, write): return lambda event: write(f"{event.job}\\n")
"""
BROKEN = """
def detect(env): return True
def context(env): raise OSError("no context")
def hide(secrets): raise ValueError(secrets)
def reporter(env, write):
    def emit(event):
        write(event.job + "\\n")
        raise KeyError(event.job)
    return emit
"""
Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Give a function that installs a module (name, text) as an adapter and a runner; no others are installed."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(path for path in sys.path if "site-packages" not in path)])

    def give(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
        folder = tmp_path / f"{name}-1.dist-info"
        folder.mkdir()
        (folder / "entry_points.txt").write_text(
            f"[ci_env.adapters]\n{name} = {name}\n[ci_env.runners]\n{name} = {name}\n"
        )

    return give


def test_adapter_of_the_service(install: Install) -> None:
    install("trial_good", GOOD)
    found = adapter({"SERVICE": "yes"})
    assert found
    assert found.context({}) == {"a": "b"}
    assert found.hide([b"hunter2"]) == "mask 1\n"
    written: list[str] = []
    found.reporter({}, written.append)(JobStarted("build"))
    assert written == ["build\n"]
    assert adapter({}) is None


def test_broken_adapters_warn_and_do_not_break_the_run(install: Install) -> None:
    install("trial_a", "import trial_nothing")
    install("trial_b", "def detect(env): return env['no']")
    install("trial_c", BROKEN)
    warnings: list[str] = []
    written: list[str] = []
    found = adapter({}, warn=warnings.append)
    assert found
    assert found.context({}) == {}
    assert found.hide([b"hunter2"]) == ""
    emit = found.reporter({}, written.append)
    emit(JobStarted("one"))
    emit(JobStarted("two"))
    assert written == ["one\n"]
    assert [warning.partition(" does not work: ")[::2] for warning in warnings] == [
        ("the adapter `trial_a` of trial-a", "ModuleNotFoundError: No module named 'trial_nothing'"),
        ("the adapter `trial_b` of trial-b", "KeyError: 'no'"),
        ("the adapter `trial_c` of trial-c", "OSError: no context"),
        ("the adapter `trial_c` of trial-c", "RuntimeError: hide: ValueError"),
        ("the adapter `trial_c` of trial-c", "KeyError: 'one'"),
    ]


def test_reporter_that_cannot_be_had_is_silent(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("trial_d", "def detect(env): return True")
    found = adapter({})
    assert found
    found.reporter({}, print)(JobStarted("one"))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("warning: the adapter `trial_d` of trial-d does not work: AttributeError: ")


def test_runner_by_its_name(install: Install) -> None:
    with pytest.raises(HostError, match="no runner is installed"):
        runner_factory("trial_e")
    install("trial_e", "def abilities(): return ()")
    assert runner_factory("trial_e").abilities() == ()
    with pytest.raises(ConfigError, match=r"^there is no runner `other`; there are: trial_e$"):
        runner_factory("other")


def test_broken_runner_is_told(install: Install) -> None:
    install("trial_f", "import trial_nothing")
    with pytest.raises(HostError, match="the runner `trial_f` cannot be loaded: No module") as caught:
        runner_factory("trial_f")
    assert caught.value.hint == "ask those who made trial-f"

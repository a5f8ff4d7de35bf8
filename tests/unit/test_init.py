"""`ci-env init`: the file fits what is there, explains itself, and always loads."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ci_env.cli import init
from ci_env.cli.main import main
from ci_env.cli.pipeline_file import load
from ci_env.cli.starter.jobs import find_jobs
from ci_env.cli.starter.recipe import Job, Step
from ci_env.cli.starter.render import render
from ci_env.errors import ConfigError, HostError
from ci_env.pipeline import model

PYPROJECT = """
[project]
name = "x"
[project.optional-dependencies]
test = ["pytest"]
"""
PACKAGE = json.dumps({"scripts": {"test": "jest", "build": "tsc", "start": "x"}})
NO_TEST = json.dumps({"main": "index.js", "scripts": {"test": 'echo "Error: no test specified" && exit 1'}})
CARGO = '[package]\nname = "x"\nversion = "1.0.0"\n'


def project(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def started(directory: Path, below: str = "") -> model.Pipeline:
    """Return what the file for the project in `directory` means."""
    return load(render(find_jobs(directory), below).encode(), "ci-env.yml")


def commands(job: model.Job) -> dict[str, str]:
    return {step.name: step.run.rstrip() for step in job.steps}


@pytest.mark.parametrize(
    ("files", "image", "expected"),
    [
        (
            {"pyproject.toml": PYPROJECT, ".python-version": "3.12.1\n"},
            "python:3.12-slim",
            {"install": "pip install --editable '.[test]' pytest", "test": "python -m pytest --junitxml=report.xml"},
        ),
        (
            {"requirements.txt": "requests\n", "tests/test_x.py": ""},
            "python:3.13-slim",
            {"deps": "pip install -r requirements.txt", "test": "python -m unittest discover --verbose tests"},
        ),
        (
            {"requirements-dev.txt": "-r requirements.txt\npytest\n", "requirements.txt": "requests"},
            "python:3.13-slim",
            {
                "deps": "pip install -r requirements.txt -r requirements-dev.txt",
                "test": "python -m pytest --junitxml=report.xml",
            },
        ),
        (
            {"setup.py": ""},
            "python:3.13-slim",
            {"install": "pip install --editable .", "compile": "python -m compileall -q ."},
        ),
        (
            {"package.json": PACKAGE, "package-lock.json": "{}"},
            "node:22-slim",
            {"deps": "npm ci", "build": "npm run build", "test": "npm run test"},
        ),
        (
            {"package.json": NO_TEST, "index.js": "", "pnpm-lock.yaml": ""},
            "node:22-slim",
            {"deps": "corepack enable\npnpm install --frozen-lockfile", "check": "node --check 'index.js'"},
        ),
        (
            {"package.json": "not JSON", "yarn.lock": ""},
            "node:22-slim",
            {"deps": "yarn install --frozen-lockfile", "check": "node --version"},
        ),
        (
            {"Cargo.toml": CARGO, "Cargo.lock": ""},
            "rust:1",
            {
                "deps": "mkdir src\n: > src/lib.rs\ncargo fetch --locked\nrm -r src",
                "build": "cargo build --offline --locked --all-targets",
                "test": "cargo test --offline --locked",
            },
        ),
        (
            {"Cargo.toml": "[workspace]\nmembers = ['a']\n"},
            "rust:1",
            {
                "deps": "cargo fetch",
                "build": "cargo build --offline --all-targets",
                "test": "cargo test --offline",
            },
        ),
        (
            {"go.mod": "module x\n\ngo 1.23.4\n"},
            "golang:1.23",
            {"deps": "go mod download", "vet": "go vet ./...", "test": "go test ./..."},
        ),
        (
            {"go.mod": "module x\n", "vendor/modules.txt": ""},
            "golang:1",
            {"vet": "go vet ./...", "test": "go test ./..."},
        ),
        (
            {"Makefile": "all:\n\ntest: all\n", "main.c": ""},
            "debian:12",
            {
                "deps": "apt-get update\napt-get install -y --no-install-recommends build-essential",
                "build": 'make -j"$(nproc)"',
                "test": "make test",
            },
        ),
        (
            {"CMakeLists.txt": ""},
            "debian:12",
            {
                "deps": "apt-get update\napt-get install -y --no-install-recommends build-essential cmake ninja-build",
                "build": "cmake -S . -B build -G Ninja\ncmake --build build",
                "test": "ctest --test-dir build --output-on-failure --output-junit report.xml",
            },
        ),
        (
            {"configure": ""},
            "debian:12",
            {
                "deps": "apt-get update\napt-get install -y --no-install-recommends build-essential",
                "build": './configure\nmake -j"$(nproc)"',
                "test": "make check",
            },
        ),
    ],
)
def test_file_fits_the_project(tmp_path: Path, files: dict[str, str], image: str, expected: dict[str, str]) -> None:
    (job,) = started(project(tmp_path, files)).jobs
    assert (job.image, commands(job)) == (image, expected)
    offline = {step.name for step in job.steps if step.network == "none"}
    assert offline == set(expected) - {"deps", "install"}


def test_several_languages_are_several_jobs(tmp_path: Path) -> None:
    files = {"pyproject.toml": PYPROJECT, "package.json": PACKAGE, "Cargo.toml": CARGO, "go.mod": "", "meson.build": ""}
    assert [job.name for job in started(project(tmp_path, files)).jobs] == ["python", "node", "rust", "go", "c"]


def test_makefile_of_another_language_is_no_c_project(tmp_path: Path) -> None:
    assert find_jobs(project(tmp_path, {"Makefile": "test:\n\tpytest\n"})) == ()


def test_example_where_nothing_is_known(tmp_path: Path) -> None:
    (job,) = started(tmp_path).jobs
    assert (job.name, job.image, len(job.steps)) == ("hello", "host", 2)


def test_dependencies_see_only_the_files_that_name_them(tmp_path: Path) -> None:
    files = {"package.json": PACKAGE, "package-lock.json": "{}", ".npmrc": ""}
    (job,) = started(project(tmp_path, files)).jobs
    assert job.steps[0].inputs == ("package.json", "package-lock.json", ".npmrc")
    (job,) = started(tmp_path, "apps/[web]").jobs
    assert job.steps[0].inputs == tuple(
        f"apps/\\[web]/{name}" for name in ("package.json", "package-lock.json", ".npmrc")
    )
    assert {step.workdir for step in job.steps} == {"apps/[web]"}


words = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1, max_size=12).map(str.strip)
words = words.filter(lambda text: text.isprintable() and text and "${{" not in text)
lines = st.lists(words, min_size=1, max_size=3).map("\n".join)
steps = st.builds(
    Step,
    name=words,
    run=lines,
    comment=st.just("") | lines,
    downloads=st.booleans(),
    junit=st.just(()) | st.just(("report.xml",)),
)


@example(Step("null", "NULL"), "")
@given(steps, st.sampled_from(["", "a", "a b/c", "#x", "!x", "'"]))
def test_whatever_a_step_is_called_and_runs_is_read_back(step: Step, directory: str) -> None:
    pipeline = load(render([Job("x", "host", (step,))], directory).encode(), "ci-env.yml")
    (found,) = pipeline.jobs[0].steps
    assert (found.name, found.run.rstrip("\n")) == (step.name, step.run)
    assert found.workdir == (directory or ".")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_init_writes_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project(here, {"go.mod": "module x\n"})
    assert main(["init"]) == 0
    assert capsys.readouterr().out == "ci-env.yml: written, for what is here (go); now: ci-env run\n"
    assert main(["validate"]) == 0
    written = (here / "ci-env.yml").read_bytes()
    with pytest.raises(ConfigError, match=r"there is already a file ci-env\.yml") as caught:
        init.run(argparse.Namespace(force=False))
    assert caught.value.hint == "`ci-env init --force` overwrites it"
    (here / "ci-env.yml").write_text("mine")
    assert main(["init", "--force"]) == 0
    assert (here / "ci-env.yml").read_bytes() == written


def test_init_below_the_top_of_a_repository(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / ".git").mkdir()
    monkeypatch.chdir(project(here, {"sub/go.mod": "module x\n"}) / "sub")
    assert main(["init"]) == 0
    (job,) = load((here / "sub/ci-env.yml").read_bytes(), "x").jobs
    assert (job.steps[0].inputs, job.steps[0].workdir) == (("sub/go.mod",), "sub")


def test_init_does_not_follow_a_dangling_link(here: Path) -> None:
    (here / "ci-env.yml").symlink_to("elsewhere")
    assert main(["init"]) == 2
    assert not (here / "elsewhere").exists()


def test_init_where_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/proc/self")
    with pytest.raises(HostError, match=r"cannot write /proc/\d+/ci-env\.yml") as caught:
        init.run(argparse.Namespace(force=False))
    assert caught.value.hint == "make the directory writable"

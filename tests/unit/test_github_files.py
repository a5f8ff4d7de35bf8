"""What a run says to GitHub's runner by files, read back as the runner does it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_env.events import Event, JobStarted, RunFinished, StepFailure, StepFinished
from ci_env.frozen import replace
from ci_env_github.adapter import reporter
from ci_env_github.files import SUMMARY_LIMIT, add_summary, fitted, set_outputs
from ci_env_github.summary import fenced, summary, text
from tests.installed import REPOSITORY

FAILURE = StepFailure(
    "build", "test", "exit status 3", "make test\n", ("a line", "```", "</details>"), "ci-env replay 1"
)
EVENTS: tuple[Event, ...] = (
    JobStarted("build"),
    StepFinished("build", "deps", "cached", 900, "", None),
    StepFinished("build", "test", "failed", 1234, "exit status 3", None),
    FAILURE,
    RunFinished("20261125-072449-3996", "failed", 2000),
)


def read_outputs(path: Path) -> dict[str, str]:
    """Read a file of outputs as FileCommandManager.cs does: to the first line that is the delimiter."""
    lines = iter(path.read_bytes().decode().split("\n")[:-1])
    found: dict[str, str] = {}
    for line in lines:
        name, delimiter = line.split("<<", 1)
        value: list[str] = []
        while (part := next(lines)) != delimiter:
            value.append(part)
        found[name] = "\n".join(value)
    return found


def test_a_hint_is_in_the_summary_and_the_annotation(tmp_path: Path) -> None:
    written: list[str] = []
    emit = reporter({"GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}, written.append)
    for event in EVENTS:
        emit(replace(event, hint="look there") if isinstance(event, StepFailure) else event)
    assert "Hint: look there" in (tmp_path / "summary").read_text().splitlines()
    assert any(line.startswith("::error") and "Hint: look there" in line for line in "".join(written).splitlines())


def test_outputs_and_summary_of_a_run(tmp_path: Path) -> None:
    env = {"GITHUB_OUTPUT": str(tmp_path / "outputs"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    (tmp_path / "summary").write_text("of others\n")
    emit = reporter(env, lambda _: None)
    for event in EVENTS:
        emit(event)
    assert read_outputs(tmp_path / "outputs") == {
        "result": "failed",
        "run-id": "20261125-072449-3996",
        "failed-step": "build/test",
        "cache-hits": "1",
    }
    assert (tmp_path / "summary").read_text().splitlines() == [
        "of others",
        "### ci-env: failed in 2.0 s",
        "",
        "| Job | Step | Result | Time |",
        "|---|---|---|---:|",
        "| build | deps | ⚡ cached |  |",
        "| build | test | ❌ failed, exit status 3 | 1.2 s |",
        "",
        "Run `20261125-072449-3996`.",
        "",
        "#### build / test: exit status 3",
        "",
        "```sh",
        "make test",
        "```",
        "",
        "Its last lines:",
        "````",
        "a line",
        "```",
        "</details>",
        "````",
        "",
        "To run it again in the same surroundings:",
        "```sh",
        "ci-env replay 1",
        "```",
    ]


def test_outside_of_github_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    emit = reporter({}, lambda _: None)
    for event in EVENTS:
        emit(event)
    assert list(tmp_path.iterdir()) == []


@given(
    st.dictionaries(
        st.from_regex(r"[a-z-]{1,9}", fullmatch=True), st.text(st.characters(codec="utf-8", exclude_characters="\r"))
    )
)
def test_any_output_is_read_back(tmp_path_factory: pytest.TempPathFactory, outputs: dict[str, str]) -> None:
    path = tmp_path_factory.mktemp("outputs") / "file"
    set_outputs({"GITHUB_OUTPUT": str(path)}, outputs)
    assert read_outputs(path) == outputs


@given(
    st.lists(st.sampled_from(["text", "```sh", "```", "````", "````", "é" * 50, ""]), max_size=60), st.integers(0, 600)
)
def test_a_summary_fits(lines: list[str], room: int) -> None:
    markdown = "\n".join(lines)
    found = fitted(markdown, room)
    assert len(found.encode()) <= room
    assert found == markdown or found == "" or found.endswith("the log has the rest.*\n")


def test_the_summaries_of_a_step_fit_together(tmp_path: Path) -> None:
    env = {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    for _ in range(3):
        add_summary(env, "line of text\n" * 50_000)
    assert SUMMARY_LIMIT - 1000 < (tmp_path / "summary").stat().st_size <= SUMMARY_LIMIT


@given(st.text())
def test_names_are_no_markup(words: str) -> None:
    found = text(words)
    assert not re.sub(r"&#\d+;", "", found).strip("".join(set(words))) or "\n" not in found
    assert not set(re.sub(r"&#\d+;", "", found)) & set("|<>`*[]_\n\r\\")


@given(st.text(st.sampled_from("`a\n"), max_size=40))
def test_no_output_ends_its_fence(content: str) -> None:
    opening, *body, closing = "\n".join(fenced("", content)).split("\n")
    assert opening == closing
    assert all(not line.strip().startswith(closing) for line in body)


def test_a_job_of_strangers_cannot_write_a_table(tmp_path: Path) -> None:
    step = StepFinished("a | b", "<img src=x>\n# head", "passed", 1, "", None)
    (row,) = [line for line in summary("1", [step], [], ending="passed").splitlines() if "passed |" in line]
    assert row == "| a &#124; b | &#60;img src=x&#62; &#35; head | ✅ passed | 0.0 s |"


def test_no_more_annotations_than_are_shown(tmp_path: Path) -> None:
    said: list[str] = []
    emit = reporter({"GITHUB_OUTPUT": str(tmp_path / "outputs")}, said.append)
    for number in range(12):
        emit(replace(FAILURE, step=str(number)))
    emit(EVENTS[-1])
    errors = [line for line in said if line.startswith("::error")]
    assert len(errors) == 10
    assert errors[-1] == "::error title=ci-env::and 3 more failed steps, which the log and the summary show\n"


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("vendor.github-actions", "plugins/github/action.yml"),
        ("vendor.github-workflows", "examples/github/ci.yml"),
        ("vendor.github-workflows", "tests/e2e/github/workflow.yml"),
    ],
)
def test_files_for_github_fit_its_schemas(schema: str, file: str) -> None:
    argv = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(REPOSITORY / file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout

"""The pipeline file on disk, and `ci-env validate`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from ci_env.cli import pipeline_file, validate
from ci_env.errors import ConfigError

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/ci-env.yml"))


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    validate.add_arguments(parser)
    return parser.parse_args(words)


def refusal(path: Path) -> tuple[str, str | None]:
    with pytest.raises(ConfigError) as caught:
        pipeline_file.read(path)
    return str(caught.value), caught.value.hint


def test_validate_counts_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.yml"
    file.write_text("version: 1\nimage: host\njobs: {a: {matrix: {x: [1, 2]}, steps: [{run: x}, {run: y}]}}\n")
    assert validate.run(arguments(str(file))) == 0
    file.write_text("version: 1\nimage: host\njobs: {a: {steps: [{run: x}]}}\n")
    assert validate.run(arguments(str(file))) == 0
    assert capsys.readouterr().out == f"{file}: valid: 2 jobs, 4 steps\n{file}: valid: 1 job, 1 step\n"


def test_validate_reads_the_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^there is no pipeline file ci-env\.yml$") as caught:
        validate.run(arguments())
    assert caught.value.hint == "`ci-env init` writes one that fits the project"
    Path("ci-env.yml").write_text("version: 2\n")
    with pytest.raises(ConfigError, match=r"^ci-env\.yml:1:1: the key `jobs` is missing\nci-env\.yml:1:10: version: "):
        validate.run(arguments())


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_examples_are_valid(file: Path) -> None:
    assert validate.run(arguments(str(file))) == 0


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    missing = tmp_path / "missing.yml"
    assert refusal(missing) == (f"there is no pipeline file {missing}", "check the path")
    assert refusal(tmp_path) == (f"{tmp_path} is a directory", f"name the file in it, such as {tmp_path}/ci-env.yml")
    assert refusal(tmp_path / "fifo") == (f"{tmp_path}/fifo is not a file", "name the pipeline file itself")
    loop = f"cannot read the pipeline file {tmp_path}/loop: Too many levels of symbolic links"
    assert refusal(tmp_path / "loop") == (loop, None)
    below = f"cannot read the pipeline file {tmp_path}/file/x: Not a directory"
    assert refusal(tmp_path / "file/x") == (below, None)


def test_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "large.yml"
    file.write_bytes(b"#" * 2**20)
    assert len(pipeline_file.read(file)) == 2**20
    file.write_bytes(b"#" * (2**20 + 1))
    assert refusal(file) == (f"the pipeline file {file} is larger than 1 MiB", None)
